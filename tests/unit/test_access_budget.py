"""What one client may have, told by a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.budget import Allowance, Budgets
from voice_server.core.errors import RateLimited
from voice_server.core.limits import AccessLimits


def budgets(chars: int = 0, streams: int = 0, clients: int = 100) -> Budgets:
    return Budgets(AccessLimits(chars_per_minute=chars, streams_per_client=streams, clients=clients))


def wait_told(purse: Budgets, client: str, chars: int, now: float) -> float:
    """0 where it was taken."""
    try:
        purse.spend(client, chars, now)
    except RateLimited as error:
        assert error.retry_after_s is not None
        return error.retry_after_s
    return 0.0


def test_a_minute_may_be_spent_at_once_and_comes_back_evenly() -> None:
    purse = budgets(chars=600)
    assert wait_told(purse, "ada", 600, 0.0) == 0.0
    assert wait_told(purse, "ada", 100, 0.0) == pytest.approx(10.0)
    assert wait_told(purse, "ada", 100, 4.0) == pytest.approx(6.0)
    assert wait_told(purse, "ada", 100, 10.0) == 0.0


def test_a_text_longer_than_a_minute_is_taken_when_the_minute_is_full_and_paid_for_afterwards() -> None:
    purse = budgets(chars=600)
    assert wait_told(purse, "ada", 1800, 0.0) == 0.0
    assert wait_told(purse, "ada", 1, 60.0) == pytest.approx(60.1)
    assert wait_told(purse, "ada", 1800, 120.0) == pytest.approx(60.0)


def test_clients_do_not_touch_each_other() -> None:
    purse = budgets(chars=600)
    purse.spend("ada", 600, 0.0)
    assert wait_told(purse, "bob", 600, 0.0) == 0.0


def test_without_limits_nothing_is_refused_or_remembered() -> None:
    purse = budgets()
    for _ in range(100):
        assert wait_told(purse, "ada", 10**9, 0.0) == 0.0
        purse.check_room("ada")
    assert purse.clients == 0


@given(st.integers(1, 2000), st.lists(st.tuples(st.integers(1, 3000), st.floats(0, 300)), max_size=30))
def test_over_any_time_a_client_gets_that_time_and_one_text_more(
    per_minute: int, texts: list[tuple[int, float]]
) -> None:
    purse, now, taken, largest = budgets(chars=per_minute), 0.0, 0, 0
    for chars, pause in texts:
        now += pause
        if not wait_told(purse, "ada", chars, now):
            taken, largest = taken + chars, max(largest, chars)
    assert taken <= now * per_minute / 60 + max(per_minute, largest) + 1


@given(st.integers(1, 2000), st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), min_size=1, max_size=20))
def test_who_comes_back_when_told_is_not_refused_again(per_minute: int, texts: list[tuple[int, float]]) -> None:
    purse, now = budgets(chars=per_minute), 0.0
    for chars, pause in texts:
        now += pause
        if wait_s := wait_told(purse, "ada", chars, now):
            now += wait_s
            assert wait_told(purse, "ada", chars, now) == 0.0


def test_ten_thousand_clients_are_not_remembered() -> None:
    purse = budgets(chars=600, clients=100)
    for number in range(10_000):
        wait_told(purse, f"client {number}", 1, 0.0)
    assert purse.clients <= 101


def test_who_is_known_keeps_its_own_minute_when_too_many_come() -> None:
    purse = budgets(chars=600, clients=2)
    purse.spend("ada", 300, 0.0)
    purse.spend("bob", 300, 0.0)
    assert wait_told(purse, "eve", 600, 0.0) == 0.0
    assert wait_told(purse, "mallory", 600, 0.0) > 0.0, "newcomers share one minute"
    assert wait_told(purse, "ada", 300, 0.0) == 0.0
    assert wait_told(purse, "eve", 600, 3600.0) == 0.0 and purse.clients <= 2, "who is full again is forgotten"


def test_a_client_has_so_many_streams_that_speak_and_as_many_that_do_not_as_it_likes() -> None:
    purse = budgets(streams=2)
    first, second, third = (Allowance(purse, "ada") for _ in range(3))
    first.take(1, 0.0)
    first.take(1, 0.0)
    second.take(1, 0.0)
    with pytest.raises(RateLimited, match="2 streams of yours speak already") as told:
        third.take(1, 0.0)
    assert told.value.retry_headers == {"retry-after": "1"}
    Allowance(purse, "bob").take(1, 0.0)
    first.end()
    first.end()
    third.take(1, 0.0)


def test_text_that_is_refused_begins_no_stream_and_a_stream_that_is_refused_costs_no_text() -> None:
    purse = budgets(chars=600, streams=1)
    first, second = Allowance(purse, "ada"), Allowance(purse, "ada")
    purse.spend("ada", 600, 0.0)
    with pytest.raises(RateLimited, match="characters a minute"):
        first.take(10, 0.0)
    second.take(10, 1.0)
    with pytest.raises(RateLimited, match="streams"):
        first.take(590, 60.0)
    assert wait_told(purse, "ada", 590, 60.0) == 0.0
