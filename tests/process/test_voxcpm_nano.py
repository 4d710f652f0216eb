"""The engine nano against a stand-in with the signatures of the real package, which needs a GPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.process.conftest import StartVoxcpm
from tests.process.worker_driver import Worker
from voice_server.wire.messages import Audio, Cancel, Cancelled, Done, Failed, Hello, Load, LoadFailed, Progress, Render

TEXT = "Hello there, how are you?"  # one step for each character
STEP_BYTES = 2 * 4 * 1920

StartNano = Callable[..., AbstractContextManager[Worker]]


@pytest.fixture
def nano(voxcpm_worker: StartVoxcpm, voxcpm_models: Path, tmp_path: Path) -> StartNano:
    """A worker that was told to load the engine; the stand-in lies beside the adapter if it is `installed`."""
    (tmp_path / "adapter.py").write_text("from voice_server.backends.voxcpm import VoxcpmBackend\n")

    @contextmanager
    def _start(installed: bool = True, **options: Any) -> Iterator[tuple[Worker, Any]]:
        if installed:
            shutil.copy(ROOT / "tests" / "standin_nanovllm.py", tmp_path / "nanovllm_voxcpm.py")
        with voxcpm_worker("", ready=False) as worker:
            assert isinstance(worker.hear(), Hello)
            options = {"model": str(voxcpm_models / "2"), "engine": "nano", **options}
            worker.say(Load(f"{tmp_path / 'adapter.py'}:VoxcpmBackend", "cuda", options))
            while isinstance(answer := worker.hear(), Progress):
                pass
            yield worker, answer

    return _start


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


def test_it_holds_many_renders_open_and_tells_its_real_rate(nano: StartNano) -> None:
    with nano() as (_, ready):
        assert (ready.sample_rate, ready.capacity, ready.deterministic, ready.can_clone) == (48000, 16, False, True)


def test_two_renders_run_side_by_side(nano: StartNano) -> None:
    text = TEXT * 4  # there is time for the second one to come
    with nano() as (worker, _):
        worker.say(Render(1, text, "", {"seed": 5}, due_in_s=60.0))
        heard = [worker.hear()]
        worker.say(Render(2, text, "", {"seed": 5}))
        while sum(isinstance(message, Done) for message in heard) < 2:
            heard.append(worker.hear())
        audio = [message for message in heard if isinstance(message, Audio)]
        pcm = {number: b"".join(part.pcm for part in audio if part.render_id == number) for number in (1, 2)}
        assert pcm[1] == pcm[2]
        assert len(pcm[1]) == len(text) * STEP_BYTES
        assert [audio[0].render_id, audio[-1].render_id] == [1, 1]  # the urgent one went in between


def test_a_cancelled_render_is_taken_from_the_gpu(nano: StartNano, tmp_path: Path) -> None:
    with nano() as (worker, _):
        before = len(events(tmp_path, "cancel"))
        worker.say(Render(1, "a" * 400, "", {"min_len": 2}))
        assert isinstance(worker.hear(), Audio)
        worker.say(Cancel(1))
        assert worker.hear_render()[1] == Cancelled(1)
        assert len(events(tmp_path, "cancel")) == before + 1


def test_a_clone_sends_its_features_with_every_sentence(nano: StartNano, sample: Path, tmp_path: Path) -> None:
    with nano() as (worker, _):
        encoded = len(events(tmp_path, "encode"))
        for number, words in enumerate(["", "The words.", "The words."], 1):
            voice = {"path": str(sample), "transcript": words}
            worker.say(Render(number, TEXT, f"voice {words}", {}, sample=voice))
            assert isinstance(worker.hear_render()[1], Done)
        assert [event["prompt"] for event in events(tmp_path, "begin")][-3:] == ["", "The words.", "The words."]
        assert all(event["reference"] for event in events(tmp_path, "begin")[-3:])
        assert len(events(tmp_path, "encode")) <= encoded + 2


@pytest.mark.parametrize(
    "options", [{"inference_timesteps": 5}, {"min_len": 9}, {"lora": "calm"}, {"normalize": True}], ids=str
)
def test_what_it_cannot_do_is_refused_and_not_ignored(nano: StartNano, options: dict[str, Any]) -> None:
    with nano() as (worker, _):
        end = worker.render(TEXT, **options)[1]
        assert isinstance(end, Failed)
        assert end.code == "bad_option"


@pytest.mark.parametrize(
    ("installed", "options"), [(False, {}), (True, {"loras": "/tmp"}), (True, {"renders": 2})], ids=str
)
def test_where_it_cannot_run_loading_fails_for_good(nano: StartNano, installed: bool, options: dict[str, Any]) -> None:
    with nano(installed=installed, **options) as (_, answer):
        assert isinstance(answer, LoadFailed)
        assert not answer.retryable
        assert "nano" in answer.message
