"""The real, unmodified package in its real environment, through the real worker host, with models that speak noise."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.process.conftest import StartVoxcpm, edit_tensors
from tests.process.worker_driver import Worker
from voice_server.wire.messages import Audio, Cancel, Cancelled, Done, Failed, Message, Render

TEXT = "Hello there, how are you?"
RATES = {"0.5b": 16000, "1.5": 44100, "2": 48000}
CHUNKS = {"0.5b": 1280, "1.5": 7056, "2": 7680}  # samples of one step


class Speaker:
    """One loaded worker of an architecture, shared by the tests."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._renders = 0

    def begin(self, text: str = TEXT, voice: str = "", sample: dict[str, str] | None = None, **options: Any) -> int:
        self._renders += 1
        self.worker.say(Render(self._renders, text, voice, options, sample=sample or {}))
        return self._renders

    def answer(self, *arguments: Any, **options: Any) -> tuple[bytes, Message]:
        self.begin(*arguments, **options)
        return self.worker.hear_render()

    def say(self, *arguments: Any, **options: Any) -> bytes:
        pcm, end = self.answer(*arguments, **options)
        assert isinstance(end, Done), end
        return pcm

    def fail(self, *arguments: Any, **options: Any) -> str:
        """The code of the failure; nothing was heard."""
        pcm, end = self.answer(*arguments, **options)
        assert isinstance(end, Failed), end
        assert (pcm, end.retryable, end.fatal) == (b"", False, False)
        return end.code


@pytest.fixture(scope="module")
def speakers(voxcpm_worker: StartVoxcpm) -> Iterator[dict[str, Speaker]]:
    with ExitStack() as stack:
        yield {arch: Speaker(stack.enter_context(voxcpm_worker(arch))) for arch in RATES}


@pytest.fixture(params=RATES)
def arch(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def speaker(speakers: dict[str, Speaker], arch: str) -> Speaker:
    return speakers[arch]


@pytest.fixture
def two(speakers: dict[str, Speaker]) -> Speaker:
    return speakers["2"]


def cloned(sample: Path, transcript: str = "") -> dict[str, Any]:
    """A voice as the gateway names it: another name for other content."""
    return {
        "voice": f"{sample.stem}-{abs(hash(transcript))}",
        "sample": {"path": str(sample), "transcript": transcript},
    }


# Speaking


def test_a_sentence_has_as_many_steps_as_the_model_took(speaker: Speaker, arch: str) -> None:
    pcm, end = speaker.answer(min_len=6)
    assert isinstance(end, Done)
    assert (len(pcm), end.chunks, end.truncated) == (8 * 2 * CHUNKS[arch], 8, False)
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 100


def test_the_same_seed_is_the_same_audio_and_another_seed_another(speaker: Speaker) -> None:
    assert speaker.say() == speaker.say()
    assert speaker.say(seed=1) == speaker.say(seed=1) != speaker.say(seed=2)


def test_a_render_that_hits_its_cap_says_so(speaker: Speaker) -> None:
    end = speaker.answer(max_len=4)[1]
    assert isinstance(end, Done)
    assert (end.chunks, end.truncated) == (4, True)


def test_a_cancel_takes_effect_in_the_middle_and_leaves_no_trace(speaker: Speaker) -> None:
    whole = speaker.say(min_len=40)
    render_id = speaker.begin(min_len=100)
    assert isinstance(speaker.worker.hear(), Audio)
    speaker.worker.say(Cancel(render_id))
    _, end = speaker.worker.hear_render()
    assert end == Cancelled(render_id)
    assert speaker.say(min_len=40) == whole


def test_a_text_that_came_out_too_long_is_spoken_anew_with_another_seed(two: Speaker) -> None:
    last, end = two.answer(seed=7, max_len=4, retry_badcase=True, retry_badcase_max_times=3)
    assert isinstance(end, Done)
    assert end.truncated
    assert last == two.say(seed=9, max_len=4)


def test_a_model_that_cannot_stop_is_stopped_when_more_was_said_than_the_text_has(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, tmp_path: Path
) -> None:
    def never_stop(header: dict[str, Any], data: bytearray) -> None:
        begin, end = header["stop_head.weight"]["data_offsets"]
        data[begin + (end - begin) // 2 : end] = struct.pack("<f", -1.0) * ((end - begin) // 8)

    shutil.copytree(voxcpm_models / "2", tmp_path / "model")
    edit_tensors(tmp_path / "model" / "model.safetensors", never_stop)
    with voxcpm_worker(tmp_path / "model") as worker:
        pcm, end = Speaker(worker).answer("Hi.", retry_badcase_ratio_threshold=20.0)
        assert isinstance(end, Done)
        assert end.truncated
        assert 5.0 < len(pcm) / 2 / 48000 < 8.0  # the engine's own cap is 14 s


def test_control_tokens_of_a_text_are_not_spoken(speaker: Speaker) -> None:
    assert speaker.say("Hello <|audio_<s>start|> there.</s>") == speaker.say("Hello there.")


def test_with_a_local_folder_the_network_is_never_asked(speakers: dict[str, Speaker], voxcpm_adapter: Path) -> None:
    assert speakers["2"].say()
    assert not (voxcpm_adapter.parent / "network").exists()


# Cloning


def test_a_voice_is_cloned_from_its_sample_and_words(speaker: Speaker, sample: Path) -> None:
    voice = cloned(sample, "These are the words.")
    assert speaker.say(**voice) == speaker.say(**voice)
    assert speaker.say(seed=1, **voice) != speaker.say(seed=1)


def test_without_the_words_only_voxcpm2_clones(speakers: dict[str, Speaker], sample: Path) -> None:
    voice = cloned(sample)
    assert speakers["2"].say(**voice) != speakers["2"].say(**cloned(sample, "These are the words."))
    assert {speakers[arch].fail(**voice) for arch in ("0.5b", "1.5")} == {"unknown_voice"}


def test_a_client_may_bring_the_words_of_the_sample(speaker: Speaker, sample: Path) -> None:
    spoken = speaker.say(seed=1, prompt_text="These are the words.", **cloned(sample))
    assert spoken == speaker.say(seed=1, **cloned(sample, "These are the words."))


def test_a_sample_is_encoded_once_for_all_sentences_and_all_workers(
    speakers: dict[str, Speaker], voxcpm_worker: StartVoxcpm, tmp_path: Path
) -> None:
    path = tmp_path / "fresh.wav"
    soundfile.write(path, np.random.default_rng(1).standard_normal(32000) * 0.1, 16000)
    voice = {**cloned(path, "Fresh words."), "seed": 5}
    encoded = speakers["0.5b"].worker.log.count("encoding the sample")
    spoken = [speakers["0.5b"].say(**voice) for _ in range(3)]
    assert speakers["0.5b"].worker.log.count("encoding the sample") == encoded + 1
    with voxcpm_worker("0.5b") as other:
        assert [Speaker(other).say(**voice)] * 3 == spoken
        assert "encoding the sample" not in other.log


@pytest.mark.parametrize(
    ("content", "rate"),
    [
        (np.random.default_rng(0).standard_normal(8000) * 0.1, 16000),
        (np.random.default_rng(0).standard_normal(31 * 8000) * 0.1, 8000),
        (np.zeros(32000), 16000),
        (np.full(32000, np.nan), 16000),
        (None, 0),
    ],
    ids=["too short", "too long", "silent", "no numbers", "no audio"],
)
def test_a_sample_that_cannot_be_cloned_is_an_unknown_voice(
    speaker: Speaker, tmp_path: Path, content: Any, rate: int
) -> None:
    path = tmp_path / "bad.wav"
    if content is None:
        path.write_bytes(b"RIFF but nothing more")
    else:
        soundfile.write(path, content, rate, subtype="FLOAT")
    assert speaker.fail(**cloned(path, "Words.")) == "unknown_voice"
    assert speaker.say()


def test_a_voice_that_was_never_prepared_is_unknown(speaker: Speaker) -> None:
    assert speaker.fail(voice="nobody") == "unknown_voice"


# Designing


def test_a_designed_voice_is_made_once_and_speaks_every_sentence(two: Speaker) -> None:
    made = two.worker.log.count("designing a new voice")
    spoken = two.say(design="calm elderly man")
    assert two.say("(calm elderly man) " + TEXT) == spoken == two.say(design="calm elderly man")
    assert two.worker.log.count("designing a new voice") == made + 1
    assert two.say(design="young woman") != spoken != two.say()


def test_a_description_of_a_cloned_voice_is_how_it_speaks(two: Speaker, sample: Path) -> None:
    voice = cloned(sample, "These are the words.")
    assert two.say("(whispering) " + TEXT, **voice) != two.say(**voice)


def test_a_designed_voice_too_can_be_told_how_to_speak(two: Speaker) -> None:
    assert two.say("(whispering) " + TEXT, design="calm elderly man") != two.say(design="calm elderly man")


def test_a_model_that_cannot_design_says_so_and_reads_parentheses_aloud(speakers: dict[str, Speaker]) -> None:
    assert speakers["0.5b"].fail(design="calm elderly man") == "bad_option"
    assert speakers["0.5b"].say("(By the way) hello.") != speakers["0.5b"].say("Hello.")


# Refusing


@pytest.mark.parametrize(
    "options",
    [
        {"inference_timesteps": 1},
        {"cfg_value": float("inf")},
        {"cfg_value": True},
        {"max_len": 3},
        {"min_len": 9, "max_len": 8},
        {"min_len": 900},
        {"speed": 1.0},
        {"denoise": True},
        {"normalize": True},
        {"lora": "calm"},
        {"prompt_text": "No sample."},
        {"seed": "one"},
        {"design": "<|audio_start|>"},
    ],
    ids=str,
)
def test_an_option_that_would_be_ignored_or_break_the_model_is_an_error(two: Speaker, options: dict[str, Any]) -> None:
    assert two.fail(**options) == "bad_option"


def test_design_together_with_a_cloned_voice_is_an_error(two: Speaker, sample: Path) -> None:
    assert two.fail(design="calm elderly man", **cloned(sample)) == "bad_option"


@pytest.mark.parametrize("text", ["…", "🙂 !", "<|audio_start|>", "many words " * 60])
def test_a_text_that_would_come_out_as_noise_or_break_in_the_middle_is_an_error(speaker: Speaker, text: str) -> None:
    assert speaker.fail(text) == "bad_text"
