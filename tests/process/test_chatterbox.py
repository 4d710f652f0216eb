"""The real package chatterbox-tts through the real worker host, with random weights: calls and limits, not a voice.

In the release tier: its environment has 2 GB, and its imports take a minute on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.process.engine_environments import python_of
from tests.process.worker_driver import Worker, started
from voice_server.wire.messages import Cancel, Cancelled, Done, Failed, Message, Ready, Render

ADAPTER = f"{Path(__file__).parents[1] / 'tiny_chatterbox.py'}:TinyChatterbox"
TEXT = "Hello [laugh] there [sigh] <|endoftext|>."
LOAD_S = 600.0

pytestmark = [pytest.mark.release, pytest.mark.timeout(1200)]


@contextmanager
def loaded(folder: Path, turbo: bool) -> Iterator[Worker]:
    with started(python=str(python_of("chatterbox"))) as worker:
        worker.sock.settimeout(LOAD_S)
        answer = worker.load(ADAPTER, model=str(folder), turbo=turbo)
        assert isinstance(answer, Ready) and answer.can_clone, f"{answer}\n{worker.log}"
        yield worker


@pytest.fixture(scope="module")
def turbo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with loaded(tmp_path_factory.mktemp("turbo"), True) as worker:
        yield worker


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with loaded(tmp_path_factory.mktemp("standard"), False) as worker:
        yield worker


def sample(folder: Path, seconds: float) -> dict[str, str]:
    noise = np.random.default_rng(0).standard_normal(int(seconds * 48000)) * 0.1
    soundfile.write(folder / "voice.wav", noise, 48000)
    return {"path": str(folder / "voice.wav"), "transcript": ""}


def answer(worker: Worker, text: str, voice: str, given: dict[str, str], **options: Any) -> tuple[bytes, Message]:
    worker.say(Render(1, text, voice, options, sample=given))
    return worker.hear_render()


def test_turbo_speaks_in_the_voice_of_a_sample(turbo: Worker, tmp_path: Path) -> None:
    pcm, end = answer(turbo, TEXT, "six", sample(tmp_path, 6.0), temperature=0.7, top_k=500)
    assert isinstance(end, Done) and not end.truncated
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 0


def test_the_same_seed_is_the_same_audio(turbo: Worker, tmp_path: Path) -> None:
    given = sample(tmp_path, 6.0)
    first, again, other = (answer(turbo, TEXT, "six", given, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other


def test_a_cancel_takes_effect_between_two_tokens(turbo: Worker, tmp_path: Path) -> None:
    turbo.say(Render(2, TEXT, "six", {}, sample=sample(tmp_path, 6.0)))
    turbo.say(Cancel(2))
    heard, end = turbo.hear_render()
    assert (heard, end) == (b"", Cancelled(2))
    assert isinstance(answer(turbo, TEXT, "six", sample(tmp_path, 6.0))[1], Done)


@pytest.mark.parametrize(
    ("text", "voice", "seconds", "options", "code"),
    [
        (TEXT, "short", 4.0, {}, "unknown_voice"),
        (TEXT, "default", 0.0, {}, "unknown_voice"),
        (TEXT, "six", 6.0, {"exaggeration": 0.7}, "bad_option"),
        ("[sigh] 你好。", "six", 6.0, {}, "bad_text"),
    ],
    ids=["a short sample", "no voice of its own", "an option of the other model", "no English"],
)
def test_what_the_model_would_do_wrong_is_refused(
    turbo: Worker, tmp_path: Path, text: str, voice: str, seconds: float, options: dict[str, Any], code: str
) -> None:
    end = answer(turbo, text, voice, sample(tmp_path, seconds) if seconds else {}, **options)[1]
    assert isinstance(end, Failed) and end.code == code


def test_the_standard_model_takes_its_dials(standard: Worker, tmp_path: Path) -> None:
    given = sample(tmp_path, 2.0)
    options = {"exaggeration": 0.7, "cfg_weight": 0.3, "min_p": 0.1}
    assert isinstance(answer(standard, TEXT, "two", given, **options)[1], Done)


def test_audio_is_one_chunk_of_sound(turbo: Worker, tmp_path: Path) -> None:
    turbo.say(Render(3, TEXT, "six", {}, sample=sample(tmp_path, 6.0)))
    assert turbo.hear_audio().pcm
    assert turbo.hear_render() == (b"", Done(3, chunks=1))
