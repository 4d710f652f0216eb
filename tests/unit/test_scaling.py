"""How many workers there are to be: the policy alone, looked at once a second of a clock that is ours."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from voice_server.core.limits import ScalingLimits
from voice_server.core.scaling import Crew, Decision, Load, Scaling
from voice_server.core.settings import Bounds

LIMITS = ScalingLimits()
EACH = 4.0  # what a worker of these tests may promise
LOAD_S = 20  # until a new one is ready

Need = Callable[[int], float]


class Plant:
    """A pool in which everything goes as it should: who is opened is ready `LOAD_S` later."""

    def __init__(self, bounds: Bounds, limits: ScalingLimits = LIMITS) -> None:
        self.scaling = Scaling(bounds, limits)
        self.now = 0
        self.need = 0.0
        self.misses = 0
        self.ready_at = [0] * bounds.min  # of each slot
        self.decisions: list[Decision] = []
        self.loads: list[Load] = []

    @property
    def ready(self) -> int:
        return sum(at <= self.now for at in self.ready_at)

    @property
    def load(self) -> Load:
        waiting = math.ceil(max(0.0, self.need - self.ready * EACH))
        busy = min(self.ready, math.ceil(self.need / EACH))
        return Load(self.need, EACH, waiting, self.misses, idle=self.ready - busy)

    def look(self) -> Decision | None:
        self.now += 1
        load, crew = self.load, Crew(len(self.ready_at), self.ready)
        self.scaling.see(load, crew, self.now)
        decision = self.scaling.decide(load, crew, self.now)
        if decision:
            assert decision.before == len(self.ready_at)
            self.decisions.append(decision)
            self.loads.append(load)
            more = decision.after - decision.before
            self.ready_at.sort()
            self.ready_at = [*self.ready_at, *[self.now + LOAD_S] * more] if more > 0 else self.ready_at[:more]
        return decision

    def run(self, seconds: float, need: Need | float | None = None) -> list[int]:
        """To how many workers each decision in this time has led."""
        before = len(self.decisions)
        for second in range(int(seconds)):
            self.need = self.need if need is None else need(second) if callable(need) else need
            self.look()
        return [decision.after for decision in self.decisions[before:]]

    @property
    def reason(self) -> str:
        return self.decisions[-1].reason


def test_as_many_as_are_needed_come_at_once_when_somebody_waits_in_line() -> None:
    plant = Plant(Bounds(1, 8))
    assert plant.run(1, need=17.0) == [5]
    assert plant.reason == "13 waited in line"


def test_nobody_comes_beyond_the_most() -> None:
    assert Plant(Bounds(1, 3)).run(600, need=1000.0) == [3]


def test_who_is_being_loaded_counts_as_coming() -> None:
    assert Plant(Bounds(1, 8)).run(LOAD_S - 1, need=17.0) == [5]


def test_another_one_comes_before_anybody_waits_when_those_there_are_stay_busy() -> None:
    plant = Plant(Bounds(1, 8))
    need = 0.9 * EACH
    assert plant.run(LIMITS.busy_s, need=need) == []
    assert plant.run(2) == [2]
    assert plant.reason == "90% of what they can do was needed"


def test_a_busy_moment_brings_nobody() -> None:
    plant = Plant(Bounds(1, 8))
    assert plant.run(120, need=lambda second: 0.95 * EACH if second % 10 else 0.5 * EACH) == []


def test_one_more_comes_when_deadlines_are_missed_more_often_than_by_chance() -> None:
    plant = Plant(Bounds(1, 8))
    plant.run(10, need=0.5 * EACH)
    for _ in range(LIMITS.short_looks):
        assert plant.run(1) == []
        plant.misses += 5
    assert plant.run(1) == [2]
    assert plant.reason == "deadlines were missed or somebody waited again"
    assert plant.run(LOAD_S) == []


def test_who_came_because_deadlines_were_missed_stays_for_minutes() -> None:
    plant = Plant(Bounds(1, 8))
    plant.run(2 * LIMITS.calm_s, need=0.5 * EACH)
    for _ in range(LIMITS.short_looks):
        plant.misses += 5
        plant.run(1)
    assert plant.run(LIMITS.calm_s - 1) == []
    assert plant.run(2) == [1]


def test_few_missed_deadlines_are_chance() -> None:
    plant = Plant(Bounds(1, 8))
    plant.run(10, need=0.5 * EACH)
    for _ in range(20):
        plant.misses += 1
        assert plant.run(LIMITS.short_s) == []


def test_deadlines_that_are_missed_while_a_worker_idles_bring_nobody() -> None:
    plant = Plant(Bounds(2, 8))
    for _ in range(30):
        plant.misses += 5
        assert plant.run(1, need=0.5 * EACH) == []


def test_nobody_comes_before_a_worker_has_loaded_at_all() -> None:
    scaling = Scaling(Bounds(1, 8), LIMITS)
    for now in range(100):
        load, crew = Load(need=50.0, each=EACH, waiting=40, misses=0, idle=0), Crew(1, ready=0)
        scaling.see(load, crew, now)
        assert scaling.decide(load, crew, now) is None


def test_a_worker_that_does_not_load_brings_no_other_one() -> None:
    plant = Plant(Bounds(1, 8))
    assert plant.run(1, need=6.0) == [2]
    plant.ready_at[1] = 10**9
    assert plant.run(600) == []


def test_a_worker_goes_when_for_minutes_the_rest_could_have_done_it() -> None:
    plant = Plant(Bounds(1, 8))
    plant.run(60, need=17.0)
    assert plant.run(LIMITS.calm_s - 1, need=1.0) == []
    assert plant.run(2) == [1]
    assert plant.reason == "for 300 s 1 were enough"


def test_a_moment_of_need_keeps_the_workers_for_minutes() -> None:
    plant = Plant(Bounds(1, 8))
    plant.run(60, need=17.0)
    plant.run(200, need=1.0)
    plant.run(1, need=17.0)
    assert plant.run(LIMITS.calm_s - 1, need=1.0) == []


def test_nobody_goes_whose_absence_would_leave_little_to_spare() -> None:
    plant = Plant(Bounds(1, 8))
    plant.run(60, need=1.5 * EACH)
    assert plant.run(10 * LIMITS.calm_s, need=0.8 * EACH) == []


def test_nobody_goes_while_somebody_waits_however_little_is_needed() -> None:
    scaling, waits = Scaling(Bounds(1, 4), LIMITS), Load(need=0.1, each=EACH, waiting=1, misses=0, idle=4)
    for now in range(2 * int(LIMITS.calm_s)):
        scaling.see(waits, Crew(4, 4), now)
        assert scaling.decide(waits, Crew(4, 4), now) is None


def test_nobody_goes_before_the_pool_was_seen_for_minutes() -> None:
    scaling, quiet = Scaling(Bounds(1, 4), LIMITS), Load(need=0.1, each=EACH, waiting=0, misses=0, idle=4)
    for now in range(int(LIMITS.calm_s)):
        scaling.see(quiet, Crew(4, 4), now)
        assert scaling.decide(quiet, Crew(4, 4), now) is None
    scaling.see(quiet, Crew(4, 4), LIMITS.calm_s)
    assert scaling.decide(quiet, Crew(4, 4), LIMITS.calm_s) is not None


def test_only_those_go_who_have_nothing_to_do() -> None:
    scaling, limits = Scaling(Bounds(1, 8), LIMITS), LIMITS
    for now in range(int(limits.calm_s) + 1):
        scaling.see(Load(need=0.1, each=EACH, waiting=0, misses=0, idle=4), Crew(4, 4), now)
    busy = Load(need=0.1, each=EACH, waiting=0, misses=0, idle=1)
    decision = scaling.decide(busy, Crew(4, 4), limits.calm_s + 1)
    assert decision is not None
    assert decision.after == 3


def test_bounds_hold_at_once() -> None:
    for slots, expected in ((1, 2), (9, 5)):
        scaling, load = Scaling(Bounds(2, 5), LIMITS), Load(0.0, EACH, 0, 0, idle=slots)
        scaling.see(load, Crew(slots, slots), 0.0)
        decision = scaling.decide(load, Crew(slots, slots), 0.0)
        assert decision is not None
        assert decision.after == expected


needs = st.floats(0.0, 60.0)


@given(st.lists(needs, max_size=4), needs, st.integers(1, 3), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_need_that_stands_still_leads_to_a_number_that_stands_still(
    before: list[float], need: float, least: int, more: int
) -> None:
    plant = Plant(Bounds(least, least + more))
    for other in before:
        plant.run(100, need=other)
    assert len(plant.run(2 * LIMITS.calm_s, need=need)) <= 4
    assert plant.run(2 * LIMITS.calm_s) == []
    fewest, most = (math.ceil(need / each - 1e-9) for each in (EACH, LIMITS.calm * EACH))
    assert plant.scaling.wanted <= len(plant.ready_at)
    assert min(fewest, least + more) <= len(plant.ready_at) <= max(least, most)


@given(needs, st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_need_that_trembles_makes_no_number_flap(need: float, seed: int) -> None:
    plant, chance = Plant(Bounds(1, 20)), random.Random(seed)
    plant.run(300, need=need)
    decided = plant.run(3600, need=lambda _: need * chance.uniform(0.85, 1.15))
    assert decided == sorted(decided)  # more of them at most, and never one fewer


@pytest.mark.parametrize("period_s", [30, 120, 590])
def test_need_that_comes_and_goes_sooner_than_a_worker_would_be_missed_keeps_them(period_s: int) -> None:
    plant = Plant(Bounds(1, 8))
    decided = plant.run(3600, need=lambda second: 17.0 if second % period_s < period_s / 2 else 1.0)
    assert decided == [5]


class ScalingMachine(RuleBasedStateMachine):
    """Whatever is asked of a pool, and whatever becomes of its workers."""

    @initialize(least=st.integers(1, 4), more=st.integers(0, 8))
    def begin(self, least: int, more: int) -> None:
        self.plant = Plant(Bounds(least, least + more), replace(LIMITS, calm_s=40.0))
        self.seen = 0
        self.up_at = -math.inf

    @rule(need=needs)
    def ask(self, need: float) -> None:
        self.plant.need = need

    @rule(missed=st.integers(1, 50))
    def miss(self, missed: int) -> None:
        self.plant.misses += missed

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.plant.run(seconds)

    @precondition(lambda self: self.plant.ready)
    @rule(reload_s=st.sampled_from([5, 100, 10**9]))
    def die(self, reload_s: int) -> None:
        self.plant.ready_at.sort()
        self.plant.ready_at[0] = self.plant.now + reload_s

    @invariant()
    def the_number_is_within_its_bounds(self) -> None:
        if hasattr(self, "plant"):
            bounds = self.plant.scaling.bounds
            assert bounds.min <= len(self.plant.ready_at) <= bounds.max

    @invariant()
    def nobody_goes_too_soon(self) -> None:
        if not hasattr(self, "plant"):
            return
        for decision, load in list(zip(self.plant.decisions, self.plant.loads, strict=True))[self.seen :]:
            if decision.after > decision.before:
                self.up_at = decision.at
                continue
            assert not load.waiting
            assert decision.at - self.up_at >= 40.0
            assert decision.after >= load.need / (LIMITS.calm * EACH) - 1e-6
        self.seen = len(self.plant.decisions)


TestScalingMachine = ScalingMachine.TestCase
TestScalingMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
