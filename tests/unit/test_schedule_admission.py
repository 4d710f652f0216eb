"""Whom the scheduler lets in, what those who wait are told, and what whole files and `fifo` get."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.scheduler_desk import FILE, LIMITS, LONG, NOW, A, B, C, D, Desk

# Admission


def test_somebody_is_let_in_however_slow_the_workers_are() -> None:
    desk = Desk(1)
    desk.measure(3.0)
    desk.say(A)
    assert desk.start() == [(A, 0)]


def test_who_cuts_an_answer_short_is_let_in_again_at_once_however_slow_the_workers_are() -> None:
    desk = Desk(1, 1)
    desk.measure(3.0)
    for _ in range(2):
        desk.say(A)
        assert len(desk.start()) == 1
        desk.scheduler.clear(A)
    desk.say(A)
    desk.start()
    assert desk.admitted() == {A}


def test_an_answer_is_let_in_only_while_all_fit() -> None:
    desk = Desk(8)
    desk.measure(0.3)  # 3.3 listeners, and 3.2 of them are promised
    for stream in (A, B, C, D):
        desk.say(stream)
    assert desk.start() == [(A, 0), (B, 0), (C, 0)]
    assert desk.admitted() == {A, B, C}


def test_a_listener_with_audio_ahead_leaves_room_for_another() -> None:
    desk = Desk(8)
    desk.measure(0.9)
    desk.say(A)
    desk.hear(desk.one(), 1.0, NOW)
    desk.say(B)
    assert desk.start() == []
    desk.scheduler.delivered(A, 15.0, 0.0, NOW)
    assert desk.start(NOW + 1.0) == [(B, 0)]


def test_an_answer_that_ended_makes_room() -> None:
    desk = Desk(4)
    desk.measure(0.9)
    desk.say(A)
    desk.say(B)
    render = desk.one()
    desk.done(render, 1.0, NOW)
    desk.scheduler.finish(A)
    assert desk.start(NOW + 1.0) == [(B, 0)]


def test_a_listener_who_hears_the_end_of_an_answer_that_goes_on_is_inside_still() -> None:
    desk = Desk(4)
    desk.measure(0.9)
    desk.say(A)
    desk.say(B)
    desk.done(desk.one(), 1.0, NOW)
    assert desk.start(NOW + 0.9) == []


def test_the_client_with_the_fewest_answers_inside_goes_first() -> None:
    desk = Desk(8)
    desk.measure(0.45)  # two listeners
    for stream in (11, 12, 13):
        desk.scheduler.open_stream(stream, live=True, client="greedy")
        desk.say(stream)
    desk.say(A)
    desk.start()
    assert desk.admitted() == {11, A}


def test_a_slow_client_does_not_keep_others_out() -> None:
    desk = Desk(4)
    desk.measure(0.9)
    desk.say(A, 0, 1)
    desk.hear(desk.one(), LIMITS.ahead_s, NOW, deliver=False)
    desk.say(B)
    assert desk.start() == [(B, 0)]


def test_who_waits_to_be_let_in_gives_up_without_a_trace() -> None:
    desk = Desk(4)
    desk.measure(0.9)
    desk.say(A)
    desk.start()
    before = desk.scheduler.snapshot(NOW).streams
    desk.say(B)
    desk.start()
    assert desk.scheduler.clear(B) == []
    assert desk.scheduler.snapshot(NOW).streams == before


def test_before_anything_was_measured_each_worker_is_taken_for_a_few_listeners() -> None:
    desk = Desk(8, limits=replace(LIMITS, unmeasured_listeners=2.2))
    for stream in (A, B, C):
        desk.say(stream)
    assert desk.start() == [(A, 0), (B, 0)]


def test_whole_files_are_let_in_at_once() -> None:
    desk = Desk(1, 1)
    desk.measure(3.0)
    desk.say(A)
    desk.say(FILE)
    assert desk.start() == [(A, 0), (FILE, 0)]


# The place in line


def test_a_stream_of_which_nothing_waits_has_no_place() -> None:
    assert Desk(1).scheduler.place(A, NOW) is None


def test_a_place_counts_the_more_urgent_streams() -> None:
    desk = Desk(1)
    for later, stream in enumerate((A, B, C)):
        desk.say(stream, now=NOW + later)
    desk.start(NOW + 3.0)
    places = [desk.scheduler.place(stream, NOW + 3.0) for stream in (B, C)]
    assert [place.position for place in places if place] == [1, 2]
    assert desk.scheduler.waiting_streams == 2


def test_place_and_wait_grow_with_the_line() -> None:
    desk = Desk(4)
    desk.measure(0.9)
    for stream in (A, B, C, D):
        desk.say(stream)
    desk.start()
    places = [place for stream in (B, C, D) if (place := desk.scheduler.place(stream, NOW))]
    assert [place.position for place in places] == [1, 2, 3]
    waits = [place.eta_s or 0.0 for place in places]
    assert 0 < waits[0] < waits[1] < waits[2]


def test_nobody_knows_how_long_the_wait_is_before_anything_was_measured() -> None:
    desk = Desk()
    desk.say(A)
    place = desk.scheduler.place(A, NOW)
    assert place is not None
    assert (place.position, place.eta_s) == (1, None)


# Whole files


def test_a_whole_file_comes_after_every_listener_until_it_is_overdue() -> None:
    desk = Desk(1)
    desk.say(FILE, now=NOW)
    desk.say(A, now=NOW + LIMITS.file_slack_s - 1.0)
    assert desk.start(NOW + LIMITS.file_slack_s - 1.0) == [(A, 0)]


def test_the_audio_of_a_file_moves_its_deadline_on_faster_than_a_listeners() -> None:
    desk = Desk(4)
    desk.say(A)
    desk.say(FILE, now=NOW - 2 * LIMITS.file_slack_s)
    paces = {one.stream: one.pace for one in desk.scheduler.assign(NOW)}
    assert paces == {A: 1.0, FILE: 1 / LIMITS.file_share}


def test_a_file_has_an_idle_worker_for_itself() -> None:
    desk = Desk(1)
    desk.say(FILE, *range(20))
    now = NOW
    for sentence in range(20):
        render = desk.one(now)
        assert (render.stream, render.sentence) == (FILE, sentence)
        now += 0.5
        desk.done(render, 1.0, now)


def test_overdue_files_get_their_share_of_workers_that_listeners_saturate() -> None:
    """One seat, a second of work for each second of audio; every second somebody comes, and leaves after two."""
    desk = Desk(1, limits=replace(LIMITS, supply=1000.0))
    desk.measure(1.0)
    desk.say(FILE, *range(1000), now=NOW - LIMITS.file_slack_s)
    files = 0
    for second in range(400):
        now = NOW + second
        desk.scheduler.open_stream(100 + second, live=True, client=str(second))
        desk.say(100 + second, now=now)
        if second >= 2:
            desk.scheduler.clear(100 + second - 2)
        render = desk.one(now)
        desk.done(render, 1.0, now + 1.0)
        files += render.stream == FILE
    assert 0.07 < files / 400 <= LIMITS.file_share


# First come, first served


def test_fifo_serves_in_the_order_of_coming_whoever_listens() -> None:
    desk = Desk(1, fifo=True)
    desk.scheduler.delivered(A, 9.0, 0.0, NOW)
    for later, stream in enumerate((FILE, A, B)):
        desk.say(stream, 0, 1, now=NOW + later)
    order = []
    for _ in range(6):
        render = desk.one(NOW + 9.0)
        order.append((render.stream, render.sentence))
        desk.done(render, 1.0, NOW + 9.0, deliver=False)
    assert order == [(FILE, 0), (FILE, 1), (A, 0), (A, 1), (B, 0), (B, 1)]


def test_fifo_lets_everyone_in_and_keeps_no_seats() -> None:
    desk = Desk(4, fifo=True)
    desk.measure(3.0)
    desk.say(A, 0, 1, 2, 3, chars=LONG)
    assert desk.start() == [(A, 0), (A, 1), (A, 2), (A, 3)]
    desk.say(B)
    desk.start()
    assert desk.admitted() == {A, B}


def test_fifo_tells_workers_that_deadlines_stand_still() -> None:
    desk = Desk(4, fifo=True)
    desk.say(A)
    render = desk.one(NOW + 1.0)
    assert (render.deadline, render.pace) == (NOW, 0.0)
    desk.hear(render, 1.0, NOW + 9.0)
    assert desk.scheduler.corrections(A, NOW + 9.0) == []
