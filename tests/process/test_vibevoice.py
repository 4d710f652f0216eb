"""The real package vibevoice through the real worker host, with random weights: calls and limits, not a voice.

In the release tier: its environment has 2 GB, and its imports take a minute on a busy machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.process.engine_environments import python_of
from tests.process.worker_driver import Worker, started
from voice_server.wire.messages import Cancel, Cancelled, Done, Failed, Ready, Render

ADAPTER = f"{Path(__file__).parents[1] / 'tiny_vibevoice.py'}:TinyVibeVoice"
TEXT = "Hello."
STEP_BYTES = 2 * 3200
LOAD_S = 600.0

pytestmark = [pytest.mark.release, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """With one preset, alice, and a model that goes on until its cap."""
    presets = tmp_path_factory.mktemp("presets")
    soundfile.write(presets / "alice.wav", np.random.default_rng(0).standard_normal(44100) * 0.1, 44100)
    with started(python=str(python_of("vibevoice"))) as worker:
        worker.sock.settimeout(LOAD_S)
        model = str(tmp_path_factory.mktemp("model"))
        answer = worker.load(ADAPTER, model=model, voices_dir=str(presets))
        assert isinstance(answer, Ready), f"{answer}\n{worker.log}"
        assert (answer.voices, answer.can_clone) == (["alice", "zero-shot"], True)
        yield worker


def fail(worker: Worker, text: str, voice: str, **options: Any) -> str:
    worker.say(Render(1, text, voice, options))
    end = worker.hear_render()[1]
    assert isinstance(end, Failed)
    return end.code


@pytest.mark.parametrize("voice", ["alice", "zero-shot"])
def test_audio_comes_step_by_step_and_a_cancel_ends_it(worker: Worker, voice: str) -> None:
    worker.say(Render(2, TEXT, voice, {"cfg_scale": 1.5}))
    assert len(worker.hear_audio().pcm) % STEP_BYTES == 0
    worker.say(Cancel(2))
    assert worker.hear_render()[1] == Cancelled(2)


def test_a_sentence_that_the_model_would_not_end_is_cut_and_says_so(worker: Worker) -> None:
    worker.say(Render(3, TEXT, "zero-shot", {}))
    pcm, end = worker.hear_render()
    assert isinstance(end, Done) and end.truncated
    assert len(pcm) % STEP_BYTES == 0


def test_a_voice_that_nobody_knows_is_an_error_and_not_a_guess(worker: Worker) -> None:
    assert fail(worker, TEXT, "ali") == "unknown_voice"


def test_a_text_without_a_word_is_refused(worker: Worker) -> None:
    assert fail(worker, "<|vision_start|> ...", "alice") == "bad_text"
