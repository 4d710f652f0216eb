"""Who goes first, and where. `test_schedule_laws.py` holds what is true under any order of events."""

from __future__ import annotations

import pytest

from tests.unit.scheduler_desk import FILE, LIMITS, LONG, NOW, SHORT, A, B, C, D, Desk, E
from voice_server.core.scheduling.schedule import CHARS_PER_S

# Who goes first


def test_nothing_starts_without_a_worker() -> None:
    desk = Desk()
    desk.say(A)
    desk.say(FILE)
    assert desk.start() == []


def test_the_listener_who_runs_out_first_goes_first() -> None:
    desk = Desk(1)
    for stream, audio_s in ((A, 5.0), (B, 2.0), (C, 8.0)):
        desk.scheduler.delivered(stream, audio_s, 0.0, NOW)
        desk.say(stream)
    order = []
    while assignments := desk.scheduler.assign(NOW):
        order.append(assignments[0].stream)
        desk.lose(assignments[0], NOW)
    assert order == [B, A, C]


def test_the_first_sentence_is_due_at_once() -> None:
    desk = Desk(1)
    desk.say(A, now=NOW - 3.0)
    assert desk.one(NOW).deadline == NOW


def test_the_next_sentence_is_due_when_the_first_will_have_been_heard() -> None:
    desk = Desk(1, 1)
    desk.say(A, 0, 1, chars=60)
    assert [one.deadline for one in desk.scheduler.assign(NOW)] == [NOW, NOW + 60 / CHARS_PER_S]


def test_the_estimate_of_what_is_not_rendered_yet_follows_the_voice() -> None:
    desk = Desk(1)
    for voice, audio_s in (("slow", 20.0), ("fast", 5.0)):
        desk.say(A, chars=LONG)
        render = desk.one()
        desk.scheduler.speaks(render.render_id, voice)
        desk.done(render, audio_s, NOW, deliver=False)
        desk.scheduler.clear(A)
    desk.say(A, 0, 1, chars=LONG)
    desk.scheduler.speaks(desk.one().render_id, "slow")
    desk.scheduler.worker_ready("w1", 1)
    assert desk.one().deadline == NOW + 20.0


def test_a_sentence_that_was_shorter_than_it_looked_makes_the_next_one_more_urgent() -> None:
    desk = Desk(1, 1)
    desk.say(A, 0, chars=LONG)
    desk.say(B, 0, chars=SHORT)
    (of_a, of_b) = desk.scheduler.assign(NOW)
    desk.say(A, 1)
    desk.say(B, 1, chars=SHORT)
    desk.hear(of_b, 1.0, NOW)
    desk.done(of_a, 0.5, NOW)
    assert desk.start() == [(A, 1)]


def test_the_sentences_of_a_stream_start_in_order() -> None:
    desk = Desk(1, 1, 1)
    desk.say(A, 0, 1, 2)
    assert desk.start() == [(A, 0), (A, 1), (A, 2)]


def test_a_client_that_takes_no_audio_is_not_rendered_further_ahead() -> None:
    desk = Desk(1)
    desk.say(A)
    desk.done(desk.one(), LIMITS.ahead_s, NOW, deliver=False)
    desk.say(A, 1)
    assert desk.start(NOW + 1e6) == []
    desk.scheduler.delivered(A, 0.1, LIMITS.ahead_s - 0.1, NOW)
    assert desk.start() == [(A, 1)]


# Seats


def test_who_has_got_enough_while_in_line_is_passed_over() -> None:
    desk = Desk(1)
    desk.say(A, 0, 1, chars=LONG)
    desk.hear(desk.one(), LIMITS.ahead_s, NOW, deliver=False)
    desk.say(FILE)
    desk.scheduler.worker_ready("w1", 1)
    assert desk.start() == [(FILE, 0)]


def test_a_stream_keeps_its_voice_from_one_sentence_to_the_next() -> None:
    desk = Desk(1)
    desk.say(A, 0, 1)
    first = desk.one()
    desk.scheduler.speaks(first.render_id, "low")
    desk.done(first, 1.0, NOW)
    desk.one()
    assert [one.voice for one in desk.scheduler.snapshot(NOW).renders] == ["low"]


def test_an_idle_worker_renders_ahead_however_late_it_is_due() -> None:
    desk = Desk(4, 4)
    desk.say(A, 0, 1, chars=LONG)
    assert [one.worker for one in desk.scheduler.assign(NOW)] == ["w0", "w1"]


def test_what_is_due_late_takes_no_seat_beside_others_until_it_is_near() -> None:
    desk = Desk(4)
    desk.say(A, 0, chars=LONG)
    desk.say(B)
    of_a, _ = desk.scheduler.assign(NOW)
    desk.done(of_a, 10.0, NOW)
    desk.say(A, 1)
    assert desk.start(NOW + 10.0 - LIMITS.near_s) == []
    assert desk.start(NOW + 10.1 - LIMITS.near_s) == [(A, 1)]


def test_answers_that_begin_find_the_kept_seats() -> None:
    desk = Desk(4)
    desk.measure(0.05)
    fill_all_but_the_kept_seat(desk)
    desk.say(A, 1)
    assert desk.start() == []
    desk.say(D)
    assert desk.start() == [(D, 0)]


def fill_all_but_the_kept_seat(desk: Desk) -> None:
    """Three of four seats are taken; A has spoken, has nothing open and will run dry at once."""
    for stream in (A, B, C):
        desk.say(stream)
    renders = desk.scheduler.assign(NOW)
    desk.done(renders[0], 0.1, NOW)
    desk.say(E)
    assert desk.start() == [(E, 0)]


def test_an_answer_that_begins_does_not_wait_behind_a_file_that_finds_no_seat() -> None:
    desk = Desk(4)
    desk.measure(0.05)
    fill_all_but_the_kept_seat(desk)
    desk.say(FILE, now=NOW - 100.0)
    desk.say(D)
    assert desk.start() == [(D, 0)]


def test_seats_of_a_gone_worker_are_not_filled() -> None:
    desk = Desk(3)
    desk.scheduler.worker_gone("w0")
    desk.say(A)
    assert desk.start() == []


def test_a_cancelled_render_keeps_its_seat_until_the_engine_lets_go() -> None:
    desk = Desk(1)
    desk.say(A)
    render = desk.one()
    desk.scheduler.clear(A)
    desk.say(B)
    assert desk.start() == []
    desk.lose(render, NOW)
    assert desk.start() == [(B, 0)]


def test_the_measured_speed_of_a_worker_counts_all_renders_that_it_steps() -> None:
    desk = Desk(4)
    for stream in (A, B, C):
        desk.say(stream)
    renders, now = desk.scheduler.assign(NOW), NOW
    for _ in range(10):
        for render in renders:
            now += 0.02
            desk.hear(render, 0.1, now)
    assert desk.scheduler.snapshot(now).workers[0].rtf == pytest.approx(0.2)


# A barge-in, a death


def test_a_barge_in_returns_to_nothing() -> None:
    desk = Desk(1, 1)
    desk.measure(0.1)
    before = desk.scheduler.snapshot(NOW).streams
    desk.say(A, *range(4), chars=LONG)
    renders = desk.scheduler.assign(NOW)
    desk.hear(renders[0], 5.0, NOW, deliver=False)
    assert desk.scheduler.clear(A) == [one.render_id for one in renders]
    assert desk.scheduler.snapshot(NOW).streams == before
    desk.say(A, 0, now=NOW + 1.0)
    for render in renders:
        desk.lose(render, NOW + 1.0)
    assert desk.one(NOW + 1.0).deadline == NOW + 1.0


def test_audio_of_a_cancelled_render_is_nobodys() -> None:
    desk = Desk(1)
    desk.say(A)
    render = desk.one()
    desk.scheduler.clear(A)
    desk.hear(render, LIMITS.ahead_s, NOW, deliver=False)
    desk.lose(render, NOW)
    desk.say(A)
    assert desk.start() == [(A, 0)]


def test_sentences_lost_with_their_worker_are_said_again_in_order() -> None:
    desk = Desk(1, 1)
    desk.say(A, 0, 1, 2)
    for render in desk.scheduler.assign(NOW):
        desk.lose(render, NOW)
    desk.scheduler.worker_gone("w0")
    desk.scheduler.retry(A, 1, SHORT, NOW)
    desk.scheduler.retry(A, 0, SHORT, NOW)
    desk.scheduler.worker_ready("w0", 1)
    desk.scheduler.worker_ready("w2", 1)
    assert desk.start() == [(A, 0), (A, 1), (A, 2)]


@pytest.mark.parametrize("is_complete", [False, True])
def test_a_sentence_that_is_said_again_keeps_its_admission(is_complete: bool) -> None:
    desk = Desk(1)
    desk.measure(0.9)
    desk.say(A)
    render = desk.one()
    if is_complete:
        desk.scheduler.finish(A)
    desk.say(B)
    desk.lose(render, NOW)
    desk.scheduler.retry(A, 0, SHORT, NOW)
    assert desk.start() == [(A, 0)]


def test_a_lost_sentence_starts_again_though_more_than_enough_behind_it_is_rendered() -> None:
    desk = Desk(1, 1)
    desk.say(A, 0, 1)
    head, next_one = desk.scheduler.assign(NOW)
    desk.done(next_one, 2 * LIMITS.ahead_s, NOW, deliver=False)
    desk.lose(head, NOW)
    desk.scheduler.delivered(A, 0.0, 2 * LIMITS.ahead_s, NOW)
    desk.scheduler.retry(A, 0, SHORT, NOW)
    assert desk.start() == [(A, 0)]


def test_a_lost_sentence_finds_a_seat_beside_others_though_its_successor_is_being_rendered() -> None:
    desk = Desk(4, 4)
    desk.say(A, 0, 1, 2)
    first, second = desk.scheduler.assign(NOW)
    desk.done(first, 1.0, NOW)
    (third,) = desk.scheduler.assign(NOW)
    desk.say(B)
    desk.start()
    desk.lose(second, NOW)
    desk.scheduler.retry(A, 1, SHORT, NOW)
    assert desk.start() == [(A, 1)]
    assert third.sentence == 2


def test_what_a_lost_sentence_had_said_is_forgotten_when_it_is_said_again() -> None:
    desk = Desk(1, 1)
    desk.say(A, 0, 1, chars=LONG)
    head, next_one = desk.scheduler.assign(NOW)
    desk.hear(next_one, 5.0, NOW, deliver=False)
    desk.lose(next_one, NOW)
    desk.scheduler.delivered(A, 0.0, 0.0, NOW)
    desk.scheduler.retry(A, 1, LONG, NOW)
    desk.hear(desk.one(), 5.0, NOW, deliver=False)
    desk.hear(head, 2.0, NOW, deliver=False)
    assert desk.scheduler.corrections(A, NOW) == []


def test_a_sentence_of_the_next_answer_is_no_successor_of_the_last_answers() -> None:
    desk = Desk(1, 1)
    desk.say(A, 0, 1)
    head, next_one = desk.scheduler.assign(NOW)
    desk.done(next_one, 5.0, NOW, deliver=False)
    desk.scheduler.finish(A)
    desk.lose(head, NOW)
    desk.say(A, 0)
    assert desk.one().deadline == NOW + 5.0


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


def test_a_stopped_sentence_lets_its_answer_end_before_the_engine_lets_go() -> None:
    desk = Desk(1)
    desk.say(A)
    render = desk.one()
    desk.scheduler.finish(A)
    desk.scheduler.stopped(render.render_id, NOW)
    assert A not in desk.admitted()
    desk.say(B, now=NOW)
    assert desk.start() == []
    desk.scheduler.released(render.render_id, NOW)
    assert desk.start() == [(B, 0)]


def test_a_sentence_is_stopped_once() -> None:
    desk = Desk(1)
    desk.say(A)
    render = desk.one()
    for _ in range(2):
        desk.scheduler.stopped(render.render_id, NOW)
    assert not desk.scheduler.has_idle_worker
    desk.scheduler.released(render.render_id, NOW)
    assert desk.scheduler.has_idle_worker


def test_a_sentence_from_memory_waits_for_its_admission_like_any_other() -> None:
    desk = Desk()
    desk.say(A)
    assert not desk.scheduler.skip(A)
    assert desk.scheduler.place(A, NOW) is not None


def test_what_comes_after_a_stopped_sentence_needs_no_idle_worker_any_more() -> None:
    desk = Desk(4)
    desk.say(A, 0, 1)
    render = desk.one()
    desk.hear(render, 0.5, NOW, deliver=False)
    assert desk.start() == []  # ahead of an open render, and the worker is not idle
    desk.scheduler.stopped(render.render_id, NOW)
    assert desk.start() == [(A, 1)]


def test_what_overtook_a_stopped_sentence_can_be_delivered() -> None:
    desk = Desk(1, 1)
    desk.say(A, 0, 1, chars=LONG)
    head, next_one = desk.scheduler.assign(NOW)
    desk.done(next_one, 5.0, NOW, deliver=False)
    desk.scheduler.stopped(head.render_id, NOW)
    (told,) = [one for one in desk.scheduler.snapshot(NOW).streams if one.stream == A]
    assert told.ahead_s == 5.0


def test_a_lost_sentence_goes_to_another_worker_than_the_one_that_lost_it() -> None:
    desk = Desk(1, 1, 1)
    desk.say(A)
    render = desk.one()
    desk.lose(render, NOW)
    desk.scheduler.retry(A, 0, SHORT, NOW, avoid="w1")  # whose turn it is
    assert desk.one().worker == "w2"


@pytest.mark.parametrize("told", [(0, 1), (1, 0)])
def test_lost_sentences_find_their_places_in_whatever_order_they_are_told(told: tuple[int, int]) -> None:
    desk = Desk(4, 4)
    desk.say(A, 0, 1, 2, 3)
    for render in desk.scheduler.assign(NOW):
        desk.lose(render, NOW)
    for sentence in told:
        desk.scheduler.retry(A, sentence, SHORT, NOW)
    assert desk.start() == [(A, 0), (A, 1)]


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
