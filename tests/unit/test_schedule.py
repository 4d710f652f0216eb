from __future__ import annotations

import pytest

from voice_server.core.limits import StreamLimits
from voice_server.core.schedule import CHARS_PER_S, Assignment, Scheduler

LIMITS = StreamLimits()
NOW = 1000.0
A, B, C = 1, 2, 3


def scheduler(*, seats: int = 1, live: tuple[int, ...] = (A, B, C), files: tuple[int, ...] = ()) -> Scheduler:
    made = Scheduler(LIMITS)
    if seats:
        made.worker_ready("w0", seats)
    for stream in live:
        made.open_stream(stream, live=True)
    for stream in files:
        made.open_stream(stream, live=False)
    return made


def started(assignments: list[Assignment]) -> list[tuple[int, int]]:
    return [(one.stream, one.sentence) for one in assignments]


def speak(made: Scheduler, render: Assignment, audio_s: float, now: float) -> None:
    """The render is done at once, and its audio is handed to the listener."""
    made.rendered(render.render_id, audio_s)
    made.released(render.render_id, complete=True)
    made.delivered(render.stream, audio_s, 0.0, now)


def test_nothing_starts_without_a_worker() -> None:
    made = scheduler(seats=0)
    made.submit(A, 0, 30, NOW)
    assert made.assign(NOW) == []


def test_a_worker_is_filled_to_its_capacity_and_no_further() -> None:
    made = scheduler(seats=2)
    for stream in (A, B, C):
        made.submit(stream, 0, 30, NOW)
    assert started(made.assign(NOW)) == [(A, 0), (B, 0)]


def test_work_goes_to_the_worker_with_the_most_free_seats() -> None:
    made = scheduler(seats=2)
    made.worker_ready("w1", 3)
    for stream in (A, B, C):
        made.submit(stream, 0, 30, NOW)
    assert [one.worker for one in made.assign(NOW)] == ["w1", "w0", "w1"]


def test_the_listener_who_runs_out_first_goes_first() -> None:
    made = scheduler()
    for stream, audio_s in ((A, 5.0), (B, 2.0), (C, 8.0)):
        made.delivered(stream, audio_s, 0.0, NOW)
        made.submit(stream, 0, 30, NOW)
    order = []
    while assigned := made.assign(NOW):
        order.append(assigned[0].stream)
        made.released(assigned[0].render_id)
    assert order == [B, A, C]


def test_the_first_sentence_is_due_at_once() -> None:
    made = scheduler()
    made.submit(A, 0, 30, NOW)
    assert made.assign(NOW + 3.0)[0].deadline == NOW


def test_audio_on_its_way_is_time_gained() -> None:
    made = scheduler()
    made.submit(A, 0, 30, NOW)
    (render,) = made.assign(NOW)
    made.rendered(render.render_id, 4.0)
    made.delivered(A, 1.0, 3.0, NOW)
    made.submit(A, 1, 30, NOW)
    assert made.deadline(A) == NOW + 1.0 + 3.0


def test_what_an_open_render_will_still_say_is_estimated_by_its_text() -> None:
    made = scheduler()
    made.submit(A, 0, 60, NOW)
    made.assign(NOW)
    made.delivered(A, 1.0, 0.0, NOW)
    made.submit(A, 1, 30, NOW)
    assert made.deadline(A) == NOW + 1.0 + 60 / CHARS_PER_S


def test_the_estimate_follows_the_engines_measured_pace() -> None:
    made = scheduler()
    for sentence in range(30):
        made.submit(A, sentence, 60, NOW)
        speak(made, made.assign(NOW)[0], 6.0, NOW)  # 10 characters a second
    made.submit(B, 0, 60, NOW)
    made.assign(NOW)
    made.delivered(B, 1.0, 0.0, NOW)
    made.submit(B, 1, 60, NOW)
    assert made.deadline(B) == pytest.approx(NOW + 1.0 + 6.0, rel=0.01)


def test_a_render_without_audio_does_not_spoil_the_estimate() -> None:
    made = scheduler()
    made.submit(A, 0, 60, NOW)
    made.released(made.assign(NOW)[0].render_id, complete=True)
    made.submit(A, 1, 60, NOW)
    made.assign(NOW)
    made.delivered(A, 1.0, 0.0, NOW)
    made.submit(A, 2, 60, NOW)
    assert made.deadline(A) == NOW + 1.0 + 60 / CHARS_PER_S


def test_a_stream_ahead_of_its_listener_comes_after_one_that_is_not() -> None:
    made = scheduler()
    made.delivered(A, LIMITS.ahead_s, 0.0, NOW)
    made.submit(A, 0, 30, NOW)
    made.open_stream(9, live=False)
    made.submit(9, 0, 30, NOW)  # due even later, but within the bounds
    assert made.deadline(9) > made.deadline(A)
    assert started(made.assign(NOW)) == [(9, 0)]


def test_a_stream_with_sentences_open_ahead_comes_after_one_with_none() -> None:
    made = scheduler(seats=4)
    for sentence in range(6):
        made.submit(A, sentence, 30, NOW)
    made.delivered(B, 9.0, 0.0, NOW)
    made.submit(B, 0, 30, NOW)
    assert started(made.assign(NOW)) == [(A, 0), (A, 1), (B, 0), (A, 2)]


def test_free_seats_render_ahead_when_nobody_else_waits() -> None:
    made = scheduler(seats=5)
    for sentence in range(5):
        made.submit(A, sentence, 30, NOW)
    assert len(made.assign(NOW)) == 5


def test_a_client_that_takes_no_audio_is_not_rendered_further_ahead() -> None:
    made = scheduler()
    made.submit(A, 0, 30, NOW)
    (render,) = made.assign(NOW)
    made.rendered(render.render_id, LIMITS.ahead_s)
    made.released(render.render_id, complete=True)
    made.submit(A, 1, 30, NOW)
    assert made.assign(NOW + 1e6) == []
    made.delivered(A, 0.1, LIMITS.ahead_s - 0.1, NOW)
    assert started(made.assign(NOW)) == [(A, 1)]


def test_two_sentences_lost_with_their_worker_are_retried_in_order() -> None:
    made = scheduler(seats=2)
    for sentence in range(3):
        made.submit(A, sentence, 30, NOW)
    for render in made.assign(NOW):
        made.released(render.render_id)
    made.worker_gone("w0")
    made.retry(A, 0, 30, NOW)
    made.retry(A, 1, 30, NOW)
    made.worker_ready("w1", 3)
    assert started(made.assign(NOW)) == [(A, 0), (A, 1), (A, 2)]


def test_seats_of_a_gone_worker_are_not_filled() -> None:
    made = scheduler(seats=3)
    made.worker_gone("w0")
    made.submit(A, 0, 30, NOW)
    assert made.assign(NOW) == []


def test_a_worker_that_comes_back_under_its_name_has_all_its_seats() -> None:
    made = scheduler()
    made.submit(A, 0, 30, NOW)
    made.released(made.assign(NOW)[0].render_id)
    made.worker_gone("w0")
    made.worker_ready("w0", 2)
    made.submit(B, 0, 30, NOW)
    made.submit(C, 0, 30, NOW)
    assert started(made.assign(NOW)) == [(B, 0), (C, 0)]


def test_a_barge_in_returns_the_open_renders_and_leaves_the_next_answer_due_at_once() -> None:
    made = scheduler(seats=2)
    for sentence in range(4):
        made.submit(A, sentence, 300, NOW)
    renders = [one.render_id for one in made.assign(NOW)]
    made.delivered(A, 9.0, 5.0, NOW)
    assert made.clear(A) == renders
    made.submit(A, 0, 30, NOW + 1.0)
    assert made.deadline(A) == NOW + 1.0
    assert made.waiting(A) == 1


def test_a_cancelled_render_keeps_its_seat_until_the_engine_lets_go() -> None:
    made = scheduler()
    made.submit(A, 0, 30, NOW)
    (render,) = made.assign(NOW)
    made.clear(A)
    made.submit(B, 0, 30, NOW)
    assert made.assign(NOW) == []
    made.released(render.render_id)
    assert started(made.assign(NOW)) == [(B, 0)]


def test_audio_of_a_cancelled_render_is_nobodys() -> None:
    made = scheduler()
    made.submit(A, 0, 30, NOW)
    (render,) = made.assign(NOW)
    made.clear(A)
    made.rendered(render.render_id, LIMITS.ahead_s)
    made.released(render.render_id)
    made.submit(A, 0, 30, NOW)
    assert started(made.assign(NOW)) == [(A, 0)]


def test_a_place_in_line_counts_the_more_urgent_streams() -> None:
    made = scheduler(seats=0)
    for later, stream in enumerate((A, B, C)):
        made.submit(stream, 0, 30, NOW + later)
    assert [made.position(stream, NOW + 3.0) for stream in (A, B, C)] == [1, 2, 3]
    assert made.waiting_streams == 3
    made.close_stream(A)
    assert made.position(B, NOW + 3.0) == 1


def test_a_stream_of_which_nothing_waits_has_no_place_in_line() -> None:
    assert scheduler().position(A, NOW) == 0


# No stream starves, under two newcomers a second where one seat speaks one sentence a second


def seconds_until_it_starts(made: Scheduler, wanted: int, limit_s: int) -> int:
    for second in range(limit_s):
        now = NOW + second
        for newcomer in (100 + 2 * second, 101 + 2 * second):
            made.open_stream(newcomer, live=True)
            made.submit(newcomer, 0, 15, now)
        (render,) = made.assign(now)
        if render.stream == wanted:
            return second
        speak(made, render, 1.0, now)
    raise AssertionError(f"not started within {limit_s} s")


def test_a_listener_who_is_far_ahead_is_served_once_the_streams_before_it_are() -> None:
    made = scheduler()
    made.delivered(A, 20.0, 0.0, NOW)
    made.submit(A, 0, 30, NOW)
    assert seconds_until_it_starts(made, A, limit_s=50) >= 20


def test_a_whole_file_is_served_once_the_streams_before_it_are() -> None:
    made = scheduler(files=(9,))
    made.submit(9, 0, 30, NOW)
    assert seconds_until_it_starts(made, 9, limit_s=70) >= LIMITS.file_slack_s


def test_a_listener_whose_renders_stand_still_is_served_once_the_streams_before_it_are() -> None:
    made = scheduler(seats=2)
    for sentence in range(3):
        made.submit(A, sentence, 150, NOW)
    assert started(made.assign(NOW)) == [(A, 0), (A, 1)]
    made.worker_ready("w1", 1)
    assert seconds_until_it_starts(made, A, limit_s=50) >= LIMITS.ahead_s


def test_a_long_file_that_is_overdue_does_not_hold_up_listeners() -> None:
    made = scheduler(files=(9,))
    for sentence in range(100):
        made.submit(9, sentence, 15, NOW)
    now = NOW + 2 * LIMITS.file_slack_s
    (late,) = made.assign(now)
    made.submit(A, 0, 15, now)
    speak(made, late, 1.0, now)
    assert started(made.assign(now)) == [(A, 0)]


def test_the_second_sentence_of_an_answer_is_due_when_the_first_will_have_been_heard() -> None:
    made = scheduler(seats=2)
    made.submit(A, 0, 30, NOW)
    made.submit(A, 1, 30, NOW)
    made.submit(B, 0, 30, NOW + 1.0)
    assert started(made.assign(NOW + 1.0)) == [(A, 0), (B, 0)]
    assert made.deadline(A) == NOW + 1.0 + 30 / CHARS_PER_S


def test_a_stream_whose_sentences_all_fail_takes_turns_with_the_others() -> None:
    made = scheduler(seats=1)
    for sentence in range(10):
        made.submit(A, sentence, 30, NOW)
    made.submit(B, 0, 30, NOW + 1.0)
    made.released(made.assign(NOW + 1.5)[0].render_id)
    assert started(made.assign(NOW + 2.0)) == [(B, 0)]
