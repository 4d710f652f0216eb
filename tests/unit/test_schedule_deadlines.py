"""What workers are told of deadlines, who misses one, and what moves them."""

from __future__ import annotations

import pytest

from tests.unit.scheduler_desk import FILE, LIMITS, LONG, NOW, A, B, Desk

# What the workers are told


def test_a_worker_is_told_of_a_deadline_only_when_it_moved() -> None:
    desk = Desk(4)
    desk.say(A, chars=LONG)
    render = desk.one()
    desk.hear(render, 1.0, NOW + 0.05)
    assert desk.scheduler.corrections(A, NOW + 0.05) == []
    desk.hear(render, 1.0, NOW + 4.0)
    assert desk.scheduler.corrections(A, NOW + 4.0) == [(render.render_id, NOW + 5.0)]
    assert desk.scheduler.corrections(A, NOW + 4.0) == []


def test_a_listener_who_has_run_out_already_is_not_told_of_again_and_again() -> None:
    desk = Desk(4)
    desk.say(A, chars=LONG)
    desk.hear(desk.one(), 1.0, NOW)
    assert [desk.scheduler.corrections(A, NOW + later) for later in (2.0, 3.0, 4.0)] == [[], [], []]


def test_a_client_that_takes_no_audio_makes_its_renders_less_urgent() -> None:
    desk = Desk(4)
    desk.say(A, chars=LONG)
    render = desk.one()
    desk.hear(render, 5.0, NOW, deliver=False)
    desk.scheduler.delivered(A, 0.0, 5.0, NOW + 3.0)
    assert desk.scheduler.corrections(A, NOW + 3.0) == [(render.render_id, NOW + 8.0)]


def test_a_whole_file_has_no_deadline_that_could_move() -> None:
    desk = Desk(4)
    desk.say(FILE, chars=LONG)
    desk.hear(desk.one(), 1.0, NOW + 9.0)
    assert desk.scheduler.corrections(FILE, NOW + 9.0) == []


def test_audio_that_comes_after_its_listener_ran_out_is_a_deadline_miss() -> None:
    desk = Desk(1)
    desk.say(A, chars=LONG)
    render = desk.one()
    for now in (NOW + 1.0, NOW + 1.9, NOW + 3.1, NOW + 4.0, NOW + 5.2):
        desk.hear(render, 1.0, now)
    assert desk.scheduler.deadline_misses == 2


@pytest.mark.parametrize(("late_s", "misses"), [(0.5 * LIMITS.late_s, 0), (2.0 * LIMITS.late_s, 1)])
def test_audio_that_is_late_by_less_than_anybody_hears_is_no_miss(late_s: float, misses: int) -> None:
    desk = Desk(1)
    desk.say(A, chars=LONG)
    render = desk.one()
    desk.hear(render, 1.0, NOW)
    desk.hear(render, 1.0, NOW + 1.0 + late_s)
    assert desk.scheduler.deadline_misses == misses


def test_the_first_audio_of_an_answer_misses_no_deadline_however_late_it_comes() -> None:
    desk = Desk(1)
    desk.say(A)
    desk.hear(desk.one(), 1.0, NOW + 9.0)
    assert desk.scheduler.deadline_misses == 0


def test_audio_that_comes_before_its_listener_runs_out_is_in_time_though_the_first_came_late() -> None:
    desk = Desk(1)
    desk.say(A)
    render = desk.one()
    desk.hear(render, 0.08, NOW + 0.09)
    desk.hear(render, 0.08, NOW + 0.16)
    assert desk.scheduler.deadline_misses == 0


def test_a_repeat_from_memory_leaves_the_deadline_of_the_sentence_before_it() -> None:
    desk = Desk(1)
    desk.say(A, 0, 1, chars=LONG)
    first = desk.one()
    desk.hear(first, 1.0, NOW)
    assert desk.scheduler.skip(A)
    desk.scheduler.repeated(A, 1, 5.0)
    desk.scheduler.delivered(A, 0.0, 5.0, NOW)
    assert desk.scheduler.corrections(A, NOW) == []


def test_a_sentence_from_memory_waits_for_its_admission_like_any_other() -> None:
    desk = Desk()
    desk.say(A)
    assert not desk.scheduler.skip(A)
    assert desk.scheduler.place(A, NOW) is not None


def test_a_client_that_was_told_that_less_is_left_for_it_moves_to_the_front() -> None:
    desk = Desk(1)
    for stream, audio_s in ((A, 8.0), (B, 5.0)):
        desk.say(stream, chars=LONG)
        desk.done(desk.one(), audio_s, NOW, deliver=False)
        desk.say(stream, 1)
    desk.scheduler.delivered(A, 0.0, 1.0, NOW)
    assert desk.one().stream == A


def test_renders_are_numbered_from_one() -> None:
    desk = Desk(1, 1, 1)
    desk.say(A, 0, 1, 2)
    assert [one.render_id for one in desk.scheduler.assign(NOW)] == [1, 2, 3]


def test_a_whole_file_is_worked_on_after_all_that_is_heard_soon() -> None:
    desk = Desk(1)
    desk.say(FILE, now=NOW - 3.0)
    assert desk.one().deadline == NOW + LIMITS.file_slack_s


@pytest.mark.parametrize(("complete", "rtf"), [(True, 0.2), (False, 0.1)])
def test_the_end_of_a_render_counts_as_work_unless_it_was_cancelled(complete: bool, rtf: float) -> None:
    desk = Desk(1)
    desk.say(A, chars=LONG)
    render = desk.one()
    desk.hear(render, 10.0, NOW + 1.0)
    desk.scheduler.released(render.render_id, NOW + 2.0, complete=complete)
    assert desk.scheduler.snapshot(NOW).workers[0].rtf == pytest.approx(rtf)
