from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.scheduling.admission import Demand, Listener

SLICE_S = 0.05
DRY = Listener(slack_s=0.0, left_s=10.0)
SECONDS = st.floats(0.0, 30.0)
LISTENERS = st.lists(st.builds(Listener, SECONDS, st.floats(0.1, 30.0)), min_size=1, max_size=6)


def carries(listeners: list[Listener], rate: float, spare_s: float = 0.0) -> bool:
    return Demand(listeners, spare_s).is_carried(rate)


@pytest.mark.parametrize(("count", "rate", "fits"), [(4, 4.0, True), (5, 4.0, False), (1, 0.9, False), (1, 1.0, True)])
def test_listeners_without_slack_need_a_second_of_audio_each_second(count: int, rate: float, fits: bool) -> None:
    assert carries([DRY] * count, rate) is fits


def test_who_has_audio_ahead_can_wait_for_those_who_have_none() -> None:
    ahead = Listener(slack_s=10.0, left_s=10.0)
    assert carries([DRY, ahead], 1.0)
    assert not carries([DRY, DRY, ahead], 1.0)


def test_a_short_answer_takes_little() -> None:
    assert carries([Listener(2.0, 4.0), Listener(2.0, 0.5)], 1.0)
    assert not carries([Listener(2.0, 4.0), Listener(2.0, 4.0)], 1.0)


@given(LISTENERS, st.floats(0.0, 5.0))
def test_the_rate_that_is_needed_is_the_least_that_carries_everyone(listeners: list[Listener], spare_s: float) -> None:
    rate = Demand(listeners[1:], spare_s).rate(listeners[:1])
    assert carries(listeners, rate + 1e-6, spare_s)
    assert not carries(listeners, rate * 0.999 - 1e-6, spare_s)


def test_nobody_needs_nothing() -> None:
    assert Demand(()).rate(()) == 0.0


def test_a_spare_has_to_be_built_up_within_seconds() -> None:
    """10 s of audio and a second of spare in 5 s: 1.2 times as fast as speech."""
    assert carries([DRY], 1.2, spare_s=1.0)
    assert not carries([DRY], 1.19, spare_s=1.0)


def test_who_has_the_spare_already_needs_no_more_than_the_others() -> None:
    ahead = Listener(slack_s=1.0, left_s=10.0)
    assert carries([ahead], 1.0, spare_s=1.0)
    assert not carries([ahead, ahead], 1.9, spare_s=1.0)


def test_nobody_is_carried_by_any_speed() -> None:
    assert carries([], 0.0)


@given(LISTENERS, st.floats(0.5, 8.0))
def test_who_is_let_in_can_be_served_in_small_steps_by_whoever_runs_out_first(
    listeners: list[Listener], rate: float
) -> None:
    """The promise itself: divide time finely, give each slice to the most urgent, and see that nobody runs dry."""
    if carries(listeners, rate):
        assert driest_s(listeners, rate * 1.05) <= len(listeners) * SLICE_S / rate


@given(LISTENERS, st.floats(0.1, 8.0))
def test_who_is_not_let_in_would_run_dry(listeners: list[Listener], rate: float) -> None:
    if not carries(listeners, rate):
        assert driest_s(listeners, rate * 0.95) > 0


def driest_s(listeners: list[Listener], rate: float) -> float:
    """By how much the worst listener is late, when each slice of audio goes to whoever needs it first."""
    plans = [[one.slack_s, one.left_s] for one in listeners]  # due at, left
    now, worst = 0.0, 0.0
    while open_plans := [plan for plan in plans if plan[1] > 0]:
        first = min(open_plans)
        made_s = min(SLICE_S, first[1])
        now += made_s / rate
        worst = max(worst, now - first[0] - made_s)
        first[0], first[1] = first[0] + made_s, first[1] - made_s
    return worst


def test_the_wait_is_until_all_before_fit_too() -> None:
    inside = [Listener(0.0, 6.0)]
    assert Demand(inside).wait_s([10.0], 1.0) == pytest.approx(6.0, abs=0.1)
    assert Demand(inside).wait_s([10.0, 10.0], 1.0) > 15.0


def test_there_is_no_wait_where_there_is_room() -> None:
    assert Demand([DRY]).wait_s([10.0], 2.0) == pytest.approx(0.0, abs=0.1)


def test_a_hopeless_wait_is_a_minute() -> None:
    assert Demand([Listener(0.0, 1000.0)]).wait_s([10.0], 0.5) == 60.0


def test_one_more_is_taken_only_if_all_are_carried_and_counts_from_then_on() -> None:
    demand = Demand([DRY])
    assert not demand.take(DRY, 1.9)
    assert demand.take(DRY, 2.0)
    assert not demand.take(DRY, 2.9)
    assert demand.is_carried(2.0)


def test_who_is_alone_is_taken_whatever_the_speed() -> None:
    assert Demand(()).take(DRY, 0.1)
