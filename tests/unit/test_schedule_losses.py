"""A barge-in, a death, a sentence that is stopped: what is left, and what is said again."""

from __future__ import annotations

import pytest

from tests.unit.scheduler_desk import LIMITS, LONG, NOW, SHORT, A, B, Desk

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


@pytest.mark.parametrize("is_complete", [False, True])
def test_a_lost_sentence_starts_again_though_more_than_enough_behind_it_is_rendered(is_complete: bool) -> None:
    """Lost is also what was rendered to its end, and is not fit to be heard."""
    desk = Desk(1, 1)
    desk.say(A, 0, 1)
    head, next_one = desk.scheduler.assign(NOW)
    desk.done(next_one, 2 * LIMITS.ahead_s, NOW, deliver=False)
    desk.scheduler.released(head.render_id, NOW, complete=is_complete)
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
