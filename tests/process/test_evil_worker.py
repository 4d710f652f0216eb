"""The scripted evil worker does what its cases say; and a real conversation catches every breach."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evil_worker import BREACHES, GOOD, PCM
from tests.process.worker_driver import Worker, started
from voice_server.wire.messages import Done, Hello, Load, Message, Ping, Pong, Ready, Render, WireError

EVIL = str(Path(__file__).parents[1] / "evil_worker.py")


@contextlib.contextmanager
def evil(case: str) -> Iterator[Worker]:
    with started(EVIL, case) as worker:
        yield worker


def lead_on(worker: Worker) -> None:
    """An unsuspecting gateway: load, render, and wait for the end."""
    answers: dict[type[Message], Load | Render] = {Hello: Load("evil", "cpu"), Ready: Render(7, "Hello.", "evil")}
    while True:
        if answer := answers.pop(type(worker.hear()), None):
            worker.say(answer)


@pytest.mark.parametrize("case", BREACHES)
def test_a_breach_of_the_wire_is_noticed_at_once(case: str) -> None:
    with evil(case) as worker:
        worker.sock.settimeout(3.0)
        with pytest.raises(WireError):
            lead_on(worker)


@pytest.mark.parametrize("case", GOOD)
def test_an_odd_but_good_worker_is_understood(case: str) -> None:
    with evil(case) as worker:
        worker.load()
        worker.say(Ping(300))
        assert worker.hear() == Pong(300)
        for render_id in (1, 200, 70_000):
            assert worker.render("Hello.", render_id=render_id) == (PCM * 2, Done(render_id, 2))


@pytest.mark.parametrize("case", ["partial_frame_then_exit", "partial_frame_then_death", "partial_frame_then_eof"])
def test_an_end_inside_a_frame_is_not_a_clean_one(case: str) -> None:
    with evil(case) as worker:
        with pytest.raises(EOFError):
            lead_on(worker)
        assert not worker.is_at_frame_boundary


def test_an_end_between_two_frames_is_a_clean_one() -> None:
    with evil("exit_when_idle") as worker:
        worker.load()
        with pytest.raises(EOFError):
            worker.hear()
        assert worker.is_at_frame_boundary
