"""Engine batched in a real worker: several renders open, one cancelled, and what it asks of a host."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

from tests.process.conftest import StartVoxcpm
from tests.process.worker_driver import Worker, adapter_file, loaded
from voice_server.wire.messages import (
    Audio,
    Cancel,
    Cancelled,
    Done,
    Failed,
    LoadFailed,
    Message,
    Ping,
    Pong,
    Ready,
    Render,
)

ADAPTER = "voice_server.backends.voxcpm:VoxcpmBackend"
LONG, SHORT = {"seed": 1, "min_len": 60}, {"seed": 2, "min_len": 6}

# Two at a time, each of which says how many were in the step. It begins when the file GATE is there.
TOGETHER = """
import os, time
import numpy as np

class Adapter:
    sample_rate, capacity, log = 8000, 4, []
    def __init__(self, device): pass
    def voices(self): return ["v"]
    def render(self, text, voice):
        for number in range(5):
            yield np.full(80, 0.125 * self.rows)
    def step(self, renders):
        while not os.path.exists(GATE):
            time.sleep(0.01)
        self.rows = len(renders[:2])
        if FAILS and self.rows == 2:
            raise ValueError("two are too many")
        return renders[:2]
"""


def hear_ends(worker: Worker, count: int) -> list[Message]:
    heard: list[Message] = []
    while sum(isinstance(message, (Done, Cancelled)) for message in heard) < count:
        heard.append(worker.hear())
    return heard


def samples(heard: list[Message], render_id: int) -> np.ndarray:
    parts = [part.pcm for part in heard if isinstance(part, Audio) and part.render_id == render_id]
    return np.frombuffer(b"".join(parts), "<i2").astype(int)


def test_renders_that_are_open_together_are_what_they_are_alone(voxcpm_worker: StartVoxcpm) -> None:
    with voxcpm_worker("2", engine="batched", renders=4) as worker:
        alone = []
        for options in (LONG, SHORT):
            worker.say(Render(len(alone) + 1, "This is said.", "", options))
            alone.append(samples(hear_ends(worker, 1), len(alone) + 1))
        worker.say(Render(3, "This is said.", "", LONG))
        worker.say(Render(4, "This is said.", "", SHORT))
        heard = hear_ends(worker, 2)
        for render_id, wanted in zip((3, 4), alone, strict=True):
            assert np.abs(samples(heard, render_id) - wanted).max() <= 1


def test_a_cancelled_render_gives_its_slot_to_the_next_one_and_the_other_goes_on(voxcpm_worker: StartVoxcpm) -> None:
    with voxcpm_worker("2", engine="batched", renders=2) as worker:
        worker.say(Render(1, "This is said.", "", SHORT))
        wanted = samples(hear_ends(worker, 1), 1)
        worker.say(Render(2, "This is said.", "", {**LONG, "min_len": 50}))
        worker.say(Render(3, "This is said.", "", LONG))
        while worker.hear_audio().render_id != 3:
            pass
        worker.say(Cancel(3))
        assert hear_ends(worker, 1)[-1] == Cancelled(3)
        worker.say(Render(4, "This is said.", "", SHORT))
        heard = hear_ends(worker, 2)
        assert [message.render_id for message in heard if isinstance(message, Done)] == [4, 2]
        assert np.abs(samples(heard, 4) - wanted).max() <= 1


def test_a_worker_holds_as_many_renders_as_memory_has_room_for(voxcpm_worker: StartVoxcpm, voxcpm_models: Path) -> None:
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(voxcpm_models / "0.5b"), engine="batched")
        assert isinstance(answer, Ready)
        assert (answer.capacity, answer.deterministic) == (16, False)


@pytest.mark.parametrize("options", [{"renders": 0}, {"renders": True}, {"optimize": True}], ids=str)
def test_an_option_that_the_engine_would_ignore_or_cannot_obey_is_a_configuration_error(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, options: dict[str, object]
) -> None:
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(voxcpm_models / "2"), engine="batched", **options)
        assert isinstance(answer, LoadFailed)
        assert not answer.retryable


# What any adapter may do


def together(folder: Path, *, fails: bool) -> str:
    """The adapter above, that begins when `begin` is called."""
    begin = f"GATE, FAILS = {str(folder / 'gate')!r}, {fails}\n"
    return f"{adapter_file(folder, begin + textwrap.dedent(TOGETHER))}:Adapter"


def begin(folder: Path, worker: Worker, *renders: Render) -> None:
    """All of them at once: a pong says that what came before the ping has arrived."""
    for message in (*renders, Ping(1)):
        worker.say(message)
    assert worker.hear() == Pong(1)
    (folder / "gate").touch()


def test_an_adapter_with_a_step_is_asked_for_a_chunk_of_each_that_it_worked_for(tmp_path: Path) -> None:
    with loaded(together(tmp_path, fails=False)) as worker:
        begin(tmp_path, worker, *(Render(number, "x", "", {}, 40.0 - 10.0 * number) for number in (1, 2, 3)))
        heard = hear_ends(worker, 3)
        assert 2 * 4096 in {int(sample) for render_id in (2, 3) for sample in samples(heard, render_id)}
        assert [len(samples(heard, render_id)) for render_id in (1, 2, 3)] == [400] * 3


def test_a_step_that_fails_ends_the_most_urgent_render_and_the_others_go_on(tmp_path: Path) -> None:
    with loaded(together(tmp_path, fails=True)) as worker:
        begin(tmp_path, worker, Render(1, "x", "", {}, 30.0), Render(2, "x", "", {}, 10.0))
        messages = [worker.hear()]
        while not isinstance(messages[-1], Done):
            messages.append(worker.hear())
        failed = [message for message in messages if isinstance(message, Failed)]
        assert [(message.render_id, message.code) for message in failed] == [(2, "render_failed")]
        assert messages[-1] == Done(1, 5)
