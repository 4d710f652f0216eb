"""The port `voxcpmex`: every message of its protocol, errors and endings too, with a real process and beeps."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import soundfile

from tests.harness import cloned_tone_bytes, hum_wav, tone_bytes, voice_store, wait_until
from tests.process.port_driver import (
    PATIENCE_S,
    PortProcess,
    ends_at_once,
    header,
    pcm_of_f32,
    port_process,
    write_config,
)
from voice_server.core.doors.limits import PortLimits

TEXT = "Hello there. This is a bridge, and it speaks."
SPOKEN = ("Hello there.", "This is a bridge, and it speaks.")
LONG = "This sentence is spoken at the pace of a person, so that something comes in its middle. " * 3

# Beeps that know adapters: what an adapter adds can be heard.
LORA_TONE = """
from voice_server.backends.tone import ToneBackend
class LoraTone(ToneBackend):
    def __init__(self, device="cpu", *, loras="", **options):
        super().__init__(device, **options)
    def render(self, text, voice, *, lora="", **options):
        return super().render(text + lora, voice, **options)
"""

PLAIN_TONE = """
from voice_server.backends.tone import ToneBackend
tone = ToneBackend()
list_voices = tone.voices
get_sample_rate = lambda: 24000
stream = tone.render
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the port was started: with a voice `ada`, two LoRA adapters, and recordings to be named by path."""
    folder = tmp_path_factory.mktemp("bridge")
    (folder / "voice_samples").mkdir()
    (folder / "voice_samples" / "ada.wav").write_bytes(hum_wav(pitch_hz=300.0))
    (folder / "bob.wav").write_bytes(hum_wav(pitch_hz=500.0))
    (folder / "short.wav").write_bytes(hum_wav(seconds=0.1))
    (folder / "secret.wav").write_bytes(b"root:x:0:0")
    (folder / "link.wav").symlink_to(folder / "bob.wav")
    weights = b'{"__metadata__": {}, "a": {}, "b": {}}'
    for name, content in {"calm": len(weights).to_bytes(8, "little") + weights, "torn": b"\xff" * 20}.items():
        (folder / "loras" / name).mkdir(parents=True)
        (folder / "loras" / name / "lora_config.json").write_text('{"r": 1, "alpha": 1}')
        (folder / "loras" / name / "lora_weights.safetensors").write_bytes(content)
    (folder / "lora_tone.py").write_text(LORA_TONE)
    return folder


@pytest.fixture(scope="module")
def port(folder: Path, tone_python: Path) -> Iterator[PortProcess]:
    """One that is ready, for the tests that leave it as they found it."""
    opts = {"lora": {"type": "str", "max": 64}}
    config = write_config(folder, "tone", "lora_tone.py:LoraTone", opts, loras=str(folder / "loras"))
    with port_process("voxcpmex", folder, config) as port:
        yield port


def ask(port: PortProcess, kind: str, **told: Any) -> dict[str, Any]:
    port.say(type=kind, **told)
    return port.hear()


def wav_of(reply: dict[str, Any]) -> bytes:
    """The PCM of a reply to `generate` that is as the protocol wants it."""
    assert reply["status"] == "ok", reply
    file = soundfile.info(io.BytesIO(reply["audio"]))
    assert (file.format, file.subtype, file.channels, file.samplerate) == ("WAV", "PCM_16", 1, reply["sample_rate"])
    assert reply["duration"] == pytest.approx(file.duration)
    pcm: bytes = soundfile.read(io.BytesIO(reply["audio"]), dtype="int16")[0].astype("<i2").tobytes()
    return pcm


def stream(port: PortProcess, **told: Any) -> list[dict[str, Any]]:
    port.say(type="generate_streaming", **told)
    return port.hear_until(lambda message: message.get("type") not in ("stream_start", "stream_chunk"))


def pcm_of(messages: list[dict[str, Any]]) -> bytes:
    """Of a stream that is as the protocol wants it, to its end."""
    first, *chunks, last = messages
    assert first == {"type": "stream_start", "sample_rate": 24000}
    assert [chunk["index"] for chunk in chunks] == list(range(len(chunks)))
    assert all(len(chunk["chunk"]) == 4 * chunk["length"] for chunk in chunks)
    assert last == {"type": "stream_end", "total_chunks": len(chunks)}
    return b"".join(pcm_of_f32(chunk["chunk"]) for chunk in chunks)


def test_ping_is_answered(port: PortProcess) -> None:
    assert ask(port, "ping") == {"status": "ok", "message": "pong"}


def test_init_tells_what_really_speaks(port: PortProcess) -> None:
    told = {"model": "openbmb/VoxCPM2", "device": "cuda", "load_denoiser": True, "optimize": True}
    reply = ask(port, "init", **told)
    assert (reply["status"], reply["device"], reply["sample_rate"]) == ("ok", "cpu", 24000)
    assert [note.split(":")[0] for note in reply["notes"]] == ["model", "device", "load_denoiser"]
    assert ask(port, "init", device="cpu")["notes"] == []


def test_a_text_is_a_wav(port: PortProcess) -> None:
    assert wav_of(ask(port, "generate", text=TEXT)) == tone_bytes(*SPOKEN)


def test_a_reply_larger_than_all_that_may_wait_leaves_the_port_alive(tmp_path: Path, tone_python: Path) -> None:
    config = write_config(tmp_path, "tone", sample_rate=48_000, seconds_per_char=0.12)
    with port_process("voxcpmex", tmp_path, config) as port:
        reply = ask(port, "generate", text=LONG * 8)
        assert len(reply["audio"]) > PortLimits().unread_bytes
        assert ask(port, "ping")["message"] == "pong"


def test_a_text_is_streamed(port: PortProcess) -> None:
    assert pcm_of(stream(port, text=TEXT)) == tone_bytes(*SPOKEN)


def test_options_and_voices_are_obeyed_and_nil_is_left_out(port: PortProcess) -> None:
    reply = ask(port, "generate", text="Hello there.", speed=2.0, voice="low", prompt_text=None, audio_prompt=None)
    assert wav_of(reply) == tone_bytes("Hello there.", voice="low", speed=2.0)


def test_requests_are_answered_in_their_order(port: PortProcess) -> None:
    port.say(type="generate", text="One.")
    port.say(type="dance")
    port.say(type="generate_streaming", text="Two.")
    port.say(type="ping")
    assert wav_of(port.hear()) == tone_bytes("One.")
    assert port.hear()["status"] == "error"
    assert pcm_of(port.hear_until(lambda message: message["type"] == "stream_end")) == tone_bytes("Two.")
    assert port.hear()["message"] == "pong"


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "dance"}, "Unknown request type: dance", "bad_message"),
    ({"type": 7}, "Unknown request type: 7", "bad_message"),
    ({}, "Unknown request type", "bad_message"),
    ({"type": "init", "device": 7}, "device must be text", "bad_message"),
    ({"type": "init", "optimize": 1}, "optimize must be true or false", "bad_message"),
    ({"type": "init", "colour": "red"}, "unknown key 'colour'", "bad_message"),
    ({"type": "generate"}, "text must be text", "bad_message"),
    ({"type": "generate", "text": " "}, "text must be text", "bad_message"),
    ({"type": "generate", "text": "🙂"}, "nothing to speak", "empty_text"),
    ({"type": "generate", "text": "x " * 5000}, "use generate_streaming", "text_too_long"),
    ({"type": "generate", "text": "x", "speed": 99}, "speed must be", "bad_option"),
    ({"type": "generate", "text": "x", "cfg_value": 2.0}, "unknown option 'cfg_value'", "bad_option"),
    ({"type": "generate", "text": "x", "voice": "nobody"}, "there is no voice", "unknown_voice"),
    ({"type": "generate", "text": "x", "audio_prompt": 7}, "audio_prompt must be text", "bad_message"),
    ({"type": "generate", "text": "x", "audio_prompt": "gone.wav"}, "cannot be opened", "bad_sample"),
    ({"type": "generate", "text": "x", "audio_prompt": "link.wav"}, "links are not followed", "bad_sample"),
    ({"type": "generate", "text": "x", "audio_prompt": "secret.wav"}, "not a sound", "bad_sample"),
    ({"type": "generate", "text": "x", "audio_prompt": "short.wav"}, "it lasts 0.10 s", "bad_sample"),
    ({"type": "generate", "text": "x", "audio_prompt": "/etc/passwd"}, "is one of .wav", "bad_sample"),
    ({"type": "generate", "text": "x", "audio_prompt": "/dev/zero"}, "not a plain file", "bad_sample"),
    ({"type": "generate", "text": "x", "audio_prompt": "bob.wav", "voice": "low"}, "one recording", "bad_message"),
    ({"type": "generate", "text": "x", "fault": "raise"}, "sentence", "sentence_failed"),
    ({"type": "generate_streaming"}, "text must be text", "bad_message"),
    ({"type": "generate_streaming", "text": "x", "speed": 99}, "speed must be", "bad_option"),
    ({"type": "load_lora"}, "lora_path must be text", "bad_message"),
    ({"type": "load_lora", "lora_path": "wild"}, "there is no such LoRA adapter", "unknown_lora"),
    ({"type": "load_lora", "lora_path": "../voice_samples"}, "lies in the folder", "unknown_lora"),
    ({"type": "load_lora", "lora_path": "/etc"}, "lies in the folder", "unknown_lora"),
    ({"type": "load_lora", "lora_path": "torn"}, "damaged", "unknown_lora"),
]


@pytest.mark.parametrize(("request_", "says", "code"), REFUSED)
def test_what_cannot_be_done_is_one_error(port: PortProcess, request_: dict[str, Any], says: str, code: str) -> None:
    port.say(**request_)
    error = port.hear()
    assert (error["status"], error["code"]) == ("error", code), error
    assert says in error["error"]
    assert ask(port, "ping")["message"] == "pong"
    assert wav_of(ask(port, "generate", text="Hi.")) == tone_bytes("Hi.")


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x93\x01\x02\x03", b"\x81\x01\x02", msgpack.packb({"type": "ping"})[:-1]]
)
def test_what_is_no_map_is_one_error(port: PortProcess, body: bytes) -> None:
    port.say_body(body)
    assert port.hear()["code"] == "bad_message"
    assert ask(port, "ping")["message"] == "pong"


def test_a_stream_that_fails_ends_with_one_error(port: PortProcess) -> None:
    messages = stream(port, text="This one fails in its middle.", fault="raise@3")
    assert messages[0]["type"] == "stream_start"
    assert messages[-1]["type"] == "stream_error" and messages[-1]["code"] == "sentence_failed"
    assert ask(port, "ping")["message"] == "pong"


def test_what_an_engine_prints_never_comes_between_packets(port: PortProcess) -> None:
    assert pcm_of(stream(port, text=TEXT, fault="print@1:1")) == tone_bytes(*SPOKEN)


@pytest.mark.parametrize("key", ["audio_prompt", "prompt_wav_path", "voice"])
def test_a_sample_may_be_named_everywhere(port: PortProcess, folder: Path, key: str, tmp_path: Path) -> None:
    ada = voice_store(tmp_path).add("ada", (folder / "voice_samples" / "ada.wav").read_bytes(), ".wav")
    assert wav_of(ask(port, "generate", text="Hi.", **{key: "ada"})) == cloned_tone_bytes(ada, "Hi.")


def test_a_recording_may_be_named_by_its_path(port: PortProcess, folder: Path, tmp_path: Path) -> None:
    bob, path, store = (folder / "bob.wav").read_bytes(), str(folder / "bob.wav"), voice_store(tmp_path)
    timbre = cloned_tone_bytes(store.add("bob", bob, ".wav"), "Hi.")
    assert wav_of(ask(port, "generate", text="Hi.", audio_prompt=path)) == timbre
    told = {"audio_prompt": path, "prompt_wav_path": path, "prompt_text": "Hum."}
    with_words = cloned_tone_bytes(store.add("bob", bob, ".wav", "Hum."), "Hi.")
    assert wav_of(ask(port, "generate", text="Hi.", **told)) == with_words != timbre
    assert pcm_of(stream(port, text="Hi.", audio_prompt="bob.wav")) == timbre


def test_a_recording_named_by_its_path_is_no_voice_of_the_folder(port: PortProcess, folder: Path) -> None:
    assert ask(port, "generate", text="Hi.", audio_prompt="bob.wav")["status"] == "ok"
    name = f"prompt-{hashlib.sha256((folder / 'bob.wav').read_bytes()).hexdigest()[:16]}"
    assert ask(port, "generate", text="Hi.", voice=name)["code"] == "unknown_voice"
    assert [file.name for file in (folder / "voice_samples").iterdir()] == ["ada.wav"]


def test_an_adapter_is_loaded_and_unloaded(port: PortProcess, folder: Path) -> None:
    for path in ("calm", str(folder / "loras" / "calm")):
        assert ask(port, "load_lora", lora_path=path) == {"status": "ok", "loaded": 2, "skipped": 0}
        assert len(wav_of(ask(port, "generate", text="Hi."))) == len(tone_bytes("Hi.calm"))
        cloned = wav_of(ask(port, "generate", text="Hi.", audio_prompt="bob.wav"))
        assert len(cloned) == len(tone_bytes("Hi.calm"))
        assert ask(port, "unload_lora") == {"status": "ok"}
        assert wav_of(ask(port, "generate", text="Hi.")) == tone_bytes("Hi.")


@pytest.mark.parametrize("kind", ["generate", "generate_streaming"])
@pytest.mark.parametrize("how", ["terminate", "hang_up"])
def test_it_ends_at_once_while_it_speaks(tmp_path: Path, tone_python: Path, kind: str, how: str) -> None:
    (tmp_path / "bob.wav").write_bytes(hum_wav())
    with port_process("voxcpmex", tmp_path, write_config(tmp_path, "tone", speed_rtf=1.0)) as port:
        assert ask(port, "generate", text="Hi.", audio_prompt="bob.wav")["status"] == "ok"
        assert list(tmp_path.glob("voice-server-prompts-*/recordings/*.wav"))
        port.say(type=kind, text=LONG, fault=f"once={tmp_path / 'begun'};print:0")
        wait_until((tmp_path / "begun").exists, "it renders", PATIENCE_S)
        getattr(port, how)()
        assert ends_at_once(port) == 0
    assert not list(tmp_path.glob("voice-server-prompts-*"))


@pytest.mark.parametrize("length", [0, 3, 2**20 + 5, 2**32 - 1])
def test_a_length_that_cannot_be_is_one_error_and_the_end(tmp_path: Path, tone_python: Path, length: int) -> None:
    with port_process("voxcpmex", tmp_path, write_config(tmp_path, "tone")) as port:
        port.say(type="ping")
        assert port.hear()["message"] == "pong"
        port.say_bytes(header(length) + b"x" * 10)
        assert [message["status"] for message in port.hear_rest()] == ["error"]
        assert ends_at_once(port) == 65


def test_an_engine_that_cannot_load_is_the_answer_to_every_request(tmp_path: Path, tone_python: Path) -> None:
    with port_process("voxcpmex", tmp_path, write_config(tmp_path, "tone", load_fault="import")) as port:
        for kind in ("init", "ping"):
            reply = ask(port, kind)
            assert reply["status"] == "error" and "No module named 'scripted'" in reply["error"]
        port.hang_up()
        assert port.hear_rest() == []
        assert port.wait() == 1


def test_an_engine_that_clones_no_voice_says_so(tmp_path: Path, tone_python: Path) -> None:
    (tmp_path / "bob.wav").write_bytes(hum_wav())
    (tmp_path / "plain.py").write_text(PLAIN_TONE)
    with port_process("voxcpmex", tmp_path, write_config(tmp_path, "tone", "plain.py")) as port:
        assert ask(port, "generate", text="Hi.", audio_prompt="bob.wav")["error"] == "the backend tone clones no voices"
