"""What is asked of the workers together, as the scheduler and the switchboard know it."""

from __future__ import annotations

import pytest

from tests.unit.scheduler_desk import FILE, LONG, NOW, A, B, C, D, Desk
from voice_server.core.limits import StreamLimits

PROMISED = StreamLimits().supply


def test_nothing_is_asked_where_nobody_speaks() -> None:
    load = Desk(1, 1).scheduler.load(NOW)
    assert (load.need, load.waiting, load.idle) == (0.0, 0, 2)
    assert load.each == PROMISED * StreamLimits().unmeasured_listeners


def test_who_is_inside_and_who_waits_need_a_second_of_audio_each_second() -> None:
    desk = Desk(8)
    desk.measure(0.5)
    for stream in (A, B, C, D):
        desk.say(stream, chars=LONG)
    desk.start()
    load = desk.scheduler.load(NOW)
    assert desk.admitted() == {A}
    assert load.need == pytest.approx(4.0)
    assert (load.waiting, load.idle) == (3, 0)
    assert load.each == pytest.approx(PROMISED * 2.0)


def test_everybody_waits_where_there_is_no_worker() -> None:
    desk = Desk()
    desk.say(A)
    desk.say(B)
    load = desk.scheduler.load(NOW)
    assert (load.waiting, load.idle) == (2, 0)
    assert load.need == pytest.approx(2.0)


def test_what_a_worker_gives_is_the_average_of_those_that_were_measured() -> None:
    desk = Desk(1)
    desk.measure(0.5)
    desk.scheduler.worker_ready("new", 1)
    assert desk.scheduler.load(NOW).each == pytest.approx(PROMISED * 2.0)


def test_whole_files_need_no_more_than_to_be_made_while_their_clients_wait() -> None:
    desk = Desk()
    desk.say(FILE, *range(12), chars=LONG)
    load = desk.scheduler.load(NOW)
    assert load.need == pytest.approx(120.0 / StreamLimits().file_wait_s)
    assert load.waiting == 0


def test_deadlines_that_were_missed_are_told() -> None:
    desk = Desk(1)
    desk.say(A, 0, 1, chars=LONG)
    render = desk.one()
    desk.hear(render, 1.0, NOW)
    desk.hear(render, 1.0, NOW + 5.0)
    assert desk.scheduler.load(NOW + 5.0).misses == 1
