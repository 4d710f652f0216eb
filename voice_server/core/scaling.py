"""How many workers a backend is to have, where its configuration says from how many to how many. Pure.

More at once when somebody waits in line or deadlines are missed again and again, as many as are needed; more in time
when those there are have been busy for a while. Fewer only when for minutes the rest could have done all of it with
room to spare, and only workers that have nothing to do. A worker that is being loaded counts as one; one that does not
load is no reason to load another.

Laws (tests/unit/test_scaling.py):
  * never fewer than `min`, never more than `max`;
  * never fewer while somebody waits, nor within `calm_s` of a time at which they were needed;
  * need that stands still leads to a number that stands still.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from voice_server.core.limits import ScalingLimits
from voice_server.core.settings import Bounds

_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the workers that are at work, in one unit: seconds of audio per second, or seats."""

    need: float  # of those who are served and of those who wait
    each: float  # that one worker may promise
    waiting: int  # who is not served and could be, were there more
    misses: int  # deadlines missed so far
    idle: int  # workers that have nothing to do


@dataclass(frozen=True, slots=True)
class Crew:
    """The slots of a pool, without those of spares."""

    slots: int
    ready: int  # the others are coming, or do not load


@dataclass(frozen=True, slots=True)
class Decision:
    at: float
    before: int
    after: int
    reason: str  # for a person


class Scaling:
    """Is shown the pool at each look (`see`), and then asked (`decide`)."""

    def __init__(self, bounds: Bounds, limits: ScalingLimits) -> None:
        self.bounds = bounds
        self.wanted = bounds.min  # as many as what is needed now takes
        self._limits = limits
        self._since = math.inf  # the first look
        self._peaks: deque[tuple[float, int]] = deque()  # of what was needed lately, each above all later ones
        self._busy_since = math.inf
        self._short: deque[float] = deque()  # looks at which there was less than it seems
        self._misses: int | None = None

    def see(self, load: Load, crew: Crew, now: float) -> None:
        self._since = min(self._since, now)
        self.wanted = self._clamp(_count(load.need, load.each))
        self._peak(self._clamp(_count(load.need, load.each * self._limits.calm)), now)
        is_busy = _count(load.need, load.each * self._limits.busy) > crew.slots
        self._busy_since = min(self._busy_since, now) if is_busy else math.inf
        missed, self._misses = self._misses is not None and load.misses > self._misses, load.misses
        is_short = load.waiting or (missed and not load.idle)  # where a worker idles, another one would not help
        if is_short and crew.ready == crew.slots:  # else one is coming: it may be all that lacks
            self._short.append(now)
        while self._short and self._short[0] <= now - self._limits.short_s:
            self._short.popleft()

    def decide(self, load: Load, crew: Crew, now: float) -> Decision | None:
        """None: let it be."""
        if crew.slots < self.bounds.min:
            return self._to(self.bounds.min, crew, now, f"there are to be {self.bounds.min} at least")
        if crew.slots > self.bounds.max:
            return self._to(self.bounds.max, crew, now, f"there are to be {self.bounds.max} at most")
        return self._more(load, crew, now) or self._fewer(load, crew, now)

    def _more(self, load: Load, crew: Crew, now: float) -> Decision | None:
        if not crew.ready:  # nothing is known yet: not how fast they are, nor whether they load at all
            return None
        if load.waiting and self.wanted > crew.slots:
            return self._to(self.wanted, crew, now, f"{load.waiting} waited in line")
        if now - self._busy_since >= self._limits.busy_s:
            wanted = self._clamp(_count(load.need, load.each * self._limits.busy))
            share = load.need / (load.each * crew.slots)
            return self._to(wanted, crew, now, f"{share:.0%} of what they can do was needed")
        if len(self._short) >= self._limits.short_looks:
            return self._to(self._clamp(crew.slots + 1), crew, now, "deadlines were missed or somebody waited again")
        return None

    def _fewer(self, load: Load, crew: Crew, now: float) -> Decision | None:
        if load.waiting or now - self._since < self._limits.calm_s:
            return None
        busy = crew.ready - load.idle
        enough = self._peaks[0][1]
        number = min(max(enough, busy), crew.slots)
        return self._to(number, crew, now, f"for {self._limits.calm_s:g} s {enough} were enough")

    def _to(self, number: int, crew: Crew, now: float, reason: str) -> Decision | None:
        if number == crew.slots:
            return None
        self._short.clear()
        self._peak(number, now)
        return Decision(now, crew.slots, number, reason)

    def _peak(self, number: int, now: float) -> None:
        while self._peaks and self._peaks[-1][1] <= number:
            self._peaks.pop()
        self._peaks.append((now, number))
        while self._peaks[0][0] <= now - self._limits.calm_s:
            self._peaks.popleft()

    def _clamp(self, number: int) -> int:
        return max(self.bounds.min, min(number, self.bounds.max))


def _count(need: float, each: float) -> int:
    return math.ceil(need / each - _NOISE)
