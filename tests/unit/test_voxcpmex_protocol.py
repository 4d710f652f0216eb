from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.doors import voxcpmex_protocol as protocol
from voice_server.core.doors.voxcpmex_protocol import Generate, Init, LoadLora, Ping, UnloadLora
from voice_server.core.errors import BadMessage, UnknownVoice
from voice_server.core.limits import Limits

LIMITS = Limits()


def decode(**said: Any) -> object:
    return protocol.decode(msgpack.packb(said), LIMITS)


@pytest.mark.parametrize(
    ("said", "request_"),
    [
        ({"type": "ping"}, Ping()),
        ({"type": "unload_lora"}, UnloadLora()),
        ({"type": "load_lora", "lora_path": "calm"}, LoadLora("calm")),
        ({"type": "init"}, Init()),
        ({"type": "init", "model": "m", "device": "cuda", "optimize": True}, Init("m", "cuda", None, True)),
        ({"type": "generate", "text": "Hi."}, Generate("Hi.", False)),
        ({"type": "generate_streaming", "text": "Hi."}, Generate("Hi.", True)),
        (
            {"type": "generate", "text": "Hi.", "prompt_wav_path": "/a.wav", "prompt_text": "Ah.", "min_len": None},
            Generate("Hi.", False, prompt_wav_path="/a.wav", prompt_text="Ah."),
        ),
        ({"type": "generate", "text": "Hi.", "cfg_value": 2.5}, Generate("Hi.", False, options={"cfg_value": 2.5})),
    ],
)
def test_each_request_is_understood(said: dict[str, Any], request_: object) -> None:
    assert decode(**said) == request_


@given(st.binary(max_size=60) | st.dictionaries(st.text(), st.integers(0, 300) | st.text()).map(msgpack.packb))
def test_any_packet_is_a_request_or_refused(body: bytes) -> None:
    try:
        protocol.decode(body, LIMITS)
    except BadMessage as refused:
        assert refused.message


def test_a_key_that_init_does_not_know_is_named() -> None:
    with pytest.raises(BadMessage, match="unknown key 'colour'; known are model, device, load_denoiser, optimize"):
        decode(type="init", colour="red")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"type": "generate"}, "text"),
        ({"type": "generate", "text": " "}, "text"),
        ({"type": "generate", "text": "Hi.", "voice": 7}, "voice"),
        ({"type": "load_lora", "lora_path": 7}, "lora_path"),
        ({"type": "init", "optimize": "yes"}, "optimize"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(said: dict[str, Any], field: str) -> None:
    with pytest.raises(BadMessage, match=f"{field} must be") as refused:
        decode(**said)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("wanted", "noted"),
    [
        (Init(), []),
        (Init("here", "cuda:1", False, True), []),
        (Init("there", "cpu", True), ["model", "device", "load_denoiser"]),
    ],
)
def test_what_is_otherwise_than_asked_for_is_noted(wanted: Init, noted: list[str]) -> None:
    notes = protocol.notes_on(wanted, "voxcpm", "here", "cuda")
    assert [note.partition(":")[0] for note in notes] == noted


def test_audio_is_a_wav_with_its_length() -> None:
    told = msgpack.unpackb(protocol.audio(bytes(48_000), 24_000))
    assert told.pop("audio")[:4] == b"RIFF"
    assert told == {"status": "ok", "sample_rate": 24_000, "duration": 1.0}


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (
            protocol.stream_chunk(2, b"\x00\x80"),
            {"type": "stream_chunk", "chunk": b"\x00\x00\x80\xbf", "index": 2, "length": 1},
        ),
        (protocol.stream_start(48_000), {"type": "stream_start", "sample_rate": 48_000}),
        (protocol.stream_end(3), {"type": "stream_end", "total_chunks": 3}),
        (protocol.stream_error(UnknownVoice("no")), {"type": "stream_error", "error": "no", "code": "unknown_voice"}),
        (protocol.error(UnknownVoice("no")), {"status": "error", "error": "no", "code": "unknown_voice"}),
        (
            protocol.initialised("cuda", 48_000, "voxcpm", ["model: other"]),
            {
                "status": "ok",
                "device": "cuda",
                "sample_rate": 48_000,
                "backend": "voxcpm",
                "notes": ["model: other"],
            },
        ),
        (protocol.pong(), {"status": "ok", "message": "pong"}),
        (protocol.lora_loaded(2), {"status": "ok", "loaded": 2, "skipped": 0}),
        (protocol.unloaded(), {"status": "ok"}),
    ],
)
def test_every_other_message_is_as_the_protocol_has_it(packet: bytes, told: dict[str, object]) -> None:
    assert msgpack.unpackb(packet) == told
