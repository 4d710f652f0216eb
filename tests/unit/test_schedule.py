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
