"""The benches of scheduling judge alike what is real and what is simulated."""

from __future__ import annotations

import pytest

from bench.listeners import Asked, Engine, Listener, Period, Policy, asked
from bench.outcomes import Row, jain
from bench.simulated import simulate
from bench.timeline import HOP_S

ENGINE = Engine()
PERIOD = Period(warm_up_s=10.0, seconds=40.0, drain_s=10.0)


def policy(capacity: int) -> Policy:
    return Policy("deadline", "deadline", capacity)


def one(chars: tuple[int, ...] = (50,), at: float = 0.0, number: int = 0) -> Asked:
    return Asked(number, at, True, chars)


def test_the_measured_period_asks_for_the_offered_load_whatever_was_drawn() -> None:
    for load in (0.3, 0.9, 1.5):
        chars = [answer.chars for answer in asked(ENGINE, load, PERIOD, 60.0) if answer.counts]
        wanted = load * PERIOD.seconds * ENGINE.audio_per_s / ENGINE.seconds_per_char
        assert wanted <= sum(map(sum, chars)) < wanted + sum(chars[0])


def test_answers_come_in_order_and_those_that_count_within_the_measured_period() -> None:
    answers = asked(ENGINE, 0.9, PERIOD, 60.0)
    assert [answer.at for answer in answers] == sorted(answer.at for answer in answers)
    assert all(answer.counts == (10.0 <= answer.at < 50.0) for answer in answers)


def test_a_sentence_is_said_when_its_last_token_is() -> None:
    answer = Asked(0, 5.0, True, (7, 8), tokens_per_s=10.0)  # with the space after each: 2 and 3 tokens
    assert (answer.said_at(0), answer.said_at(1)) == (5.2, 5.5)


def test_a_listener_hears_a_gap_where_audio_is_late() -> None:
    listener = Listener(one())
    listener.hear(0.5, now=1.0)
    listener.hear(0.5, now=1.7)
    assert listener.playhead.gaps == [pytest.approx(0.2)]


def test_silence_before_the_first_sound_counts_as_it_is_played() -> None:
    listener = Listener(one())
    listener.hear(0.5, now=1.0, silence_s=None)
    listener.hear(0.5, now=1.1, silence_s=0.1)
    assert listener.onset_s == pytest.approx(1.6)


def test_who_heard_nothing_has_waited_to_the_end_of_the_run() -> None:
    listener = Listener(one(at=2.0))
    listener.stop(now=9.0)
    assert listener.first_audio_s == pytest.approx(7.0)


def test_who_is_cut_off_in_a_silence_has_a_gap() -> None:
    listener = Listener(one())
    listener.hear(0.5, now=1.0)
    listener.stop(now=2.5)
    assert listener.playhead.gaps == [pytest.approx(1.0)]


def test_fairness_is_one_where_all_have_the_same_and_falls_to_one_of_n() -> None:
    assert jain([0.8, 0.8, 0.8]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_alone_the_first_audio_takes_a_first_chunk_and_the_way_there_and_back() -> None:
    gateway = simulate(ENGINE, policy(8), PERIOD, [one()]).gateway
    first_chunk_s = ENGINE.first_chunk_s + ENGINE.step_s + ENGINE.rtf * ENGINE.chunk_s
    assert gateway.listeners[0].first_audio_s == pytest.approx(first_chunk_s + 4 * HOP_S)


def test_a_newcomer_waits_for_a_chunk_or_where_there_is_one_seat_for_the_sentence() -> None:
    engine = Engine(workers=1)
    crowd = [one((100,)), one((50,), at=0.2, number=1)]
    first_audio_s = {
        capacity: simulate(engine, policy(capacity), PERIOD, crowd).gateway.listeners[1].first_audio_s
        for capacity in (1, 8)
    }
    assert first_audio_s[8] < 0.06
    assert first_audio_s[1] > 0.5  # 100 characters take 0.9 s to render


def test_every_answer_that_is_let_in_is_heard_whole() -> None:
    answers = [one((40, 60, 80), at=number / 4, number=number) for number in range(8)]
    gateway = simulate(Engine(workers=2), policy(4), PERIOD, answers).gateway
    assert [listener.playhead.received_s for listener in gateway.listeners] == [pytest.approx(180 * 0.06)] * 8
    assert Row.of("chunk-EDF", 0.1, gateway.listeners, 0.0).unfinished == 0
