from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_server.core.limits import WorkerLimits
from voice_server.core.restart import Condemn, LivenessPolicy, Restart, RestartPolicy, SendPing

LIMITS = WorkerLimits()
NOW = 1000.0
DAY_S = 24 * 3600.0
MIDDLE = 0.5  # of the jitter: the delay as it is


def restarts_of_a_day(
    fails_after_s: float, random: Callable[[], float], *, gets_ready: bool = False
) -> list[tuple[float, Restart]]:
    """When each start was made and what followed its failure, in a slot that never serves for long."""
    policy, now, told = RestartPolicy(LIMITS, random), 0.0, []
    while now < DAY_S:
        policy.started(now)
        if gets_ready:
            policy.ready(now)
        restart = policy.died(now + fails_after_s)
        told.append((now, restart))
        now += fails_after_s + restart.delay_s
    return told


def test_delays_double_up_to_the_cap_for_a_whole_day() -> None:
    told = restarts_of_a_day(20.0, lambda: MIDDLE, gets_ready=True)
    delays = [restart.delay_s for _, restart in told]
    assert delays[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert set(delays[8:]) == {30.0}
    assert not any(restart.broken for _, restart in told)


def test_delays_are_spread_by_a_quarter_up_and_down() -> None:
    told = restarts_of_a_day(20.0, random.Random(1).random, gets_ready=True)
    factors = [restart.delay_s / LIMITS.backoff_max_s for _, restart in told[6:]]
    assert all(0.75 <= factor <= 1.25 for factor in factors)
    assert min(factors) < 0.77
    assert max(factors) > 1.23


@pytest.mark.parametrize("fails_after_s", [0.0, 0.1, 3.0, 8.0, 170.0])
def test_a_slot_whose_loads_fail_is_broken_after_five_starts_and_probed_once_a_minute(
    fails_after_s: float,
) -> None:
    told = restarts_of_a_day(fails_after_s, random.Random(2).random)
    assert [restart.broken for _, restart in told[:5]] == [False] * 4 + [True]
    assert {restart for _, restart in told[4:]} == {Restart(LIMITS.probe_s, broken=True)}


@pytest.mark.parametrize("fails_after_s", [0.0, 1.0, 5.0, 10.0, 14.9, 15.0, 20.0])
def test_no_minute_of_a_day_sees_more_than_five_starts(fails_after_s: float) -> None:
    starts = [at for at, _ in restarts_of_a_day(fails_after_s, random.Random(3).random)]
    assert all(later - first > LIMITS.crash_loop_window_s for first, later in zip(starts, starts[5:], strict=False))


def test_service_of_a_minute_makes_backoff_start_anew() -> None:
    policy = RestartPolicy(LIMITS, lambda: MIDDLE)
    for _ in range(3):
        policy.started(NOW)
        policy.died(NOW)
    policy.started(NOW)
    policy.ready(NOW + 10.0)
    assert policy.died(NOW + 10.0 + LIMITS.healthy_s) == Restart(0.5, broken=False)


def test_shorter_service_does_not() -> None:
    policy = RestartPolicy(LIMITS, lambda: MIDDLE)
    policy.started(NOW)
    policy.died(NOW)
    policy.started(NOW)
    policy.ready(NOW)
    assert policy.died(NOW + LIMITS.healthy_s - 0.1).delay_s == 1.0


@pytest.mark.parametrize("is_told_first", [True, False], ids=["before", "after"])
def test_deaths_that_were_pardoned_never_break_a_slot(is_told_first: bool) -> None:
    policy, now = RestartPolicy(LIMITS, lambda: MIDDLE), NOW
    for _ in range(100):
        policy.started(now)
        policy.ready(now)
        if is_told_first:
            policy.pardon()
        restart = policy.died(now)
        if not is_told_first:
            policy.pardon()
        assert not restart.broken
        assert restart.delay_s <= 2 * LIMITS.backoff_first_s
        now += restart.delay_s


def test_a_pardon_takes_back_one_death_and_no_other() -> None:
    policy = RestartPolicy(LIMITS, lambda: MIDDLE)
    told = []
    for number in range(LIMITS.crash_loop_starts + 1):
        policy.started(NOW)
        policy.ready(NOW)
        if number == 0:
            policy.pardon()
        told.append(policy.died(NOW).broken)
    assert told == [False] * LIMITS.crash_loop_starts + [True]


def test_a_pardon_of_a_death_that_ended_a_long_service_has_nothing_to_take_back() -> None:
    policy = RestartPolicy(LIMITS, lambda: MIDDLE)
    policy.started(NOW)
    policy.ready(NOW)
    policy.died(NOW + LIMITS.healthy_s)
    policy.pardon()
    policy.started(NOW + LIMITS.healthy_s)
    assert policy.died(NOW + LIMITS.healthy_s).delay_s == LIMITS.backoff_first_s


def broken_policy() -> RestartPolicy:
    policy = RestartPolicy(LIMITS, lambda: MIDDLE)
    for _ in range(LIMITS.crash_loop_starts):
        policy.started(NOW)
        policy.died(NOW)
    return policy


def test_a_probe_that_serves_for_a_minute_mends_a_broken_slot() -> None:
    policy = broken_policy()
    policy.started(NOW + 60.0)
    policy.ready(NOW + 61.0)
    assert policy.died(NOW + 200.0) == Restart(0.5, broken=False)


def test_a_probe_that_dies_sooner_leaves_it_broken() -> None:
    policy = broken_policy()
    policy.started(NOW + 60.0)
    policy.ready(NOW + 61.0)
    assert policy.died(NOW + 62.0) == Restart(LIMITS.probe_s, broken=True)


def test_the_service_of_an_earlier_worker_does_not_count_for_a_later_one() -> None:
    policy = broken_policy()
    policy.ready(NOW)
    policy.started(NOW + 100.0)
    assert policy.died(NOW + 200.0).broken


def test_healthy_service_also_forgives_the_starts_before_it() -> None:
    policy = RestartPolicy(replace(LIMITS, healthy_s=1.0), lambda: MIDDLE)
    for second in range(10):
        policy.started(NOW + 2 * second)
        policy.ready(NOW + 2 * second)
        assert policy.died(NOW + 2 * second + 1.5) == Restart(0.5, broken=False)


# Liveness


def loading() -> LivenessPolicy:
    return LivenessPolicy(LIMITS, NOW)


def idle() -> LivenessPolicy:
    policy = loading()
    policy.loaded(NOW)
    return policy


def busy() -> LivenessPolicy:
    policy = idle()
    policy.opened(1, NOW)
    return policy


def flowing() -> LivenessPolicy:
    policy = busy()
    policy.audio(1, NOW)
    return policy


def cancelled() -> LivenessPolicy:
    policy = flowing()
    policy.cancelled(1, NOW)
    return policy


@pytest.mark.parametrize(
    ("state", "patience_s", "verdict"),
    [
        (loading, LIMITS.load_s, Condemn("did not load in time", "load")),
        (idle, LIMITS.ping_every_s, SendPing(1)),
        (busy, LIMITS.first_chunk_s, Condemn("stopped producing audio")),
        (flowing, LIMITS.chunk_gap_s, Condemn("stopped producing audio")),
        (cancelled, LIMITS.cancel_s, Condemn("did not let go of a cancelled render", "cancel")),
    ],
)
def test_every_state_has_its_patience(state: Callable[[], LivenessPolicy], patience_s: float, verdict: object) -> None:
    policy = state()
    assert policy.next_check() == NOW + patience_s
    assert policy.check(NOW + patience_s - 0.001) is None
    assert policy.check(NOW + patience_s) == verdict


def test_an_engine_may_be_given_more_time_between_chunks_than_for_the_first() -> None:
    policy = LivenessPolicy(replace(LIMITS, chunk_gap_s=30.0), NOW)
    policy.loaded(NOW)
    policy.opened(1, NOW)
    policy.audio(1, NOW)
    policy.opened(2, NOW)
    assert policy.next_check() == NOW + 30.0


def test_a_loading_step_renews_the_patience_with_loading() -> None:
    policy = loading()
    policy.heard(NOW + 100.0)
    assert policy.next_check() == NOW + 100.0 + LIMITS.load_s


def test_audio_renews_the_patience_with_a_render() -> None:
    policy = flowing()
    policy.audio(1, NOW + 9.0)
    assert policy.next_check() == NOW + 9.0 + LIMITS.chunk_gap_s


def test_one_unanswered_ping_is_followed_by_another_and_two_by_the_end() -> None:
    policy, told = idle(), []
    for _ in range(3):
        now = policy.next_check()
        told.append((now - NOW, policy.check(now)))
    assert told == [(5.0, SendPing(1)), (7.0, SendPing(2)), (9.0, Condemn("did not answer pings"))]


def test_a_pong_forgives_a_missed_ping() -> None:
    policy = idle()
    policy.check(NOW + 5.0)
    policy.check(NOW + 7.0)
    policy.heard(NOW + 8.9)
    assert policy.next_check() == NOW + 8.9 + LIMITS.ping_every_s


def test_a_busy_worker_is_not_pinged() -> None:
    policy = flowing()
    for second in range(1, 100):
        policy.audio(1, NOW + second)
        assert policy.check(NOW + second) is None


def test_a_worker_that_gets_work_need_not_answer_the_ping_before_it() -> None:
    policy = idle()
    policy.check(NOW + 5.0)
    policy.opened(1, NOW + 6.0)
    assert policy.check(NOW + 20.9) is None


def test_a_second_render_does_not_hide_the_silence_of_the_first() -> None:
    policy = busy()
    policy.opened(2, NOW + 14.0)
    assert policy.check(NOW + LIMITS.first_chunk_s) == Condemn("stopped producing audio")


def test_a_render_that_waits_behind_a_flowing_one_is_not_silence() -> None:
    policy = flowing()
    policy.opened(2, NOW)
    for second in range(1, 60):
        policy.audio(1, NOW + second)
        assert policy.check(NOW + second) is None


def test_the_end_of_the_last_render_makes_a_worker_idle() -> None:
    policy = flowing()
    policy.closed(1, NOW + 3.0)
    assert policy.next_check() == NOW + 3.0 + LIMITS.ping_every_s


def test_a_render_that_is_told_more_while_it_flows_is_as_patient_as_before() -> None:
    policy = flowing()
    policy.opened(1, NOW + 1.0)
    assert policy.next_check() == NOW + LIMITS.chunk_gap_s


def test_a_render_let_go_in_time_is_forgiven() -> None:
    policy = cancelled()
    policy.closed(1, NOW + 1.0)
    assert policy.check(NOW + LIMITS.cancel_s) is None


def test_audio_of_other_renders_does_not_excuse_a_cancelled_one() -> None:
    policy = cancelled()
    policy.opened(2, NOW)
    policy.audio(2, NOW + 1.9)
    assert policy.check(NOW + 2.0) == Condemn("did not let go of a cancelled render", "cancel")


# Asking only when `next_check` is due finds everything that asking every millisecond finds

SHORT = replace(
    LIMITS,
    load_s=0.05,
    ping_every_s=0.02,
    ping_wait_s=0.01,
    first_chunk_s=0.03,
    chunk_gap_s=0.02,
    cancel_s=0.015,
)
EVENTS = st.sampled_from(["loaded", "heard", "opened", "audio", "cancelled", "closed"])


class Life:
    """A worker's life in milliseconds, told to a policy in legal order."""

    def __init__(self) -> None:
        self.policy = LivenessPolicy(SHORT, 0.0)
        self.verdicts: list[tuple[int, object]] = []
        self._loaded = False
        self._open: list[int] = []
        self._cancelled: set[int] = set()
        self._renders = 0

    def happen(self, event: str, now: float) -> None:
        if event == "loaded" and not self._loaded:
            self._loaded = True
            self.policy.loaded(now)
        elif event == "heard":
            self.policy.heard(now)
        elif event == "opened" and self._loaded:
            self._renders += 1
            self._open.append(self._renders)
            self.policy.opened(self._renders, now)
        elif self._open and event in ("audio", "closed"):
            self._happen_to(self._open[0], event, now)
        elif event == "cancelled" and self._open and self._open[0] not in self._cancelled:
            self._cancelled.add(self._open[0])
            self.policy.cancelled(self._open[0], now)

    def _happen_to(self, render_id: int, event: str, now: float) -> None:
        if event == "audio":
            self.policy.audio(render_id, now)
        else:
            self._open.remove(render_id)
            self.policy.closed(render_id, now)

    def ask(self, millisecond: int) -> None:
        if verdict := self.policy.check(millisecond / 1000):
            self.verdicts.append((millisecond, verdict))

    @property
    def is_over(self) -> bool:
        return bool(self.verdicts) and isinstance(self.verdicts[-1][1], Condemn)


def verdicts(events: list[tuple[int, str]], *, always: bool) -> list[tuple[int, object]]:
    life, pending = Life(), sorted(events)
    for millisecond in range(200):
        while pending and pending[0][0] == millisecond:
            life.happen(pending.pop(0)[1], millisecond / 1000)
        if always or life.policy.next_check() <= millisecond / 1000:
            life.ask(millisecond)
        if life.is_over:
            break
    return life.verdicts


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 150), EVENTS), max_size=40))
def test_asking_when_a_check_is_due_finds_all_that_asking_always_finds(events: list[tuple[int, str]]) -> None:
    events = [(0, "loaded"), *events] if len(events) % 2 else events
    assert verdicts(events, always=False) == verdicts(events, always=True)
