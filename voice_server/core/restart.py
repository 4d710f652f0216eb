"""When a dead worker is started again, and when a silent one is given up: two pure machines, (event, now) → decision.

Giving up is a feature (Erlang's supervisors): a slot that keeps dying is held off and reported instead of looping, and
tried again once in a while. A busy worker is judged by its progress, not by pings: engines hold Python's global lock
for seconds while they work, and heartbeats have killed healthy ones (vLLM's field reports).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from voice_server.core.limits import WorkerLimits


@dataclass(frozen=True, slots=True)
class Restart:
    delay_s: float
    broken: bool  # this is a probe of a slot that counts as out of order


class RestartPolicy:
    """The restarts of one worker slot. `random` yields numbers in [0, 1) and spreads the restarts of many slots."""

    def __init__(self, limits: WorkerLimits, random: Callable[[], float]) -> None:
        self._limits = limits
        self._random = random
        self._starts: deque[float] = deque(maxlen=limits.crash_loop_starts)
        self._delay_s = limits.backoff_first_s  # before jitter
        self._ready_at: float | None = None
        self._failed_loads = 0  # in a row
        self._broken = False

    def started(self, now: float) -> None:
        self._starts.append(now)
        self._ready_at = None

    def ready(self, now: float) -> None:
        self._ready_at = now
        self._failed_loads = 0

    def died(self, now: float) -> Restart:
        if self._ready_at is not None and now - self._ready_at >= self._limits.healthy_s:
            self._delay_s, self._broken = self._limits.backoff_first_s, False
            self._starts.clear()
        if self._ready_at is None:
            self._failed_loads += 1
        self._broken = self._broken or self._is_looping(now)
        if self._broken:
            return Restart(self._limits.probe_s, broken=True)
        delay_s = self._delay_s
        self._delay_s = min(2 * delay_s, self._limits.backoff_max_s)
        return Restart(delay_s * (1 + self._limits.backoff_jitter * (2 * self._random() - 1)), broken=False)

    def pardon(self) -> None:
        """A death was no fault of the slot, be it one that `died` was told or is to be told: a text has killed it."""
        if self._starts:
            self._starts.pop()
        self._delay_s = max(self._limits.backoff_first_s, self._delay_s / 2)

    def _is_looping(self, now: float) -> bool:
        """Too many starts in too short a time; or loads that fail one after the other, however slowly."""
        full = len(self._starts) == self._limits.crash_loop_starts
        is_fast = full and now - self._starts[0] <= self._limits.crash_loop_window_s
        return is_fast or self._failed_loads >= self._limits.crash_loop_starts


@dataclass(frozen=True, slots=True)
class SendPing:
    nonce: int


@dataclass(frozen=True, slots=True)
class Condemn:
    """The worker is to be killed; `reason` is for the log and for `/ready`, `cause` one of core.status.DEATHS."""

    reason: str
    cause: str = "silent"


class LivenessPolicy:
    """Judges one worker. Tell it what happens, ask `check` when `next_check` is due.

    loading   must say something within `load_s`
    idle      must answer pings
    busy      must produce: a first chunk within `first_chunk_s`, then one every `chunk_gap_s`
    cancelled renders must be let go within `cancel_s`, whatever else is rendered
    stopping  is the caller's own matter
    """

    def __init__(self, limits: WorkerLimits, now: float) -> None:
        self._limits = limits
        self._heard_at = now
        self._loading = True
        self._fresh: set[int] = set()  # open renders without any audio yet
        self._flowing: set[int] = set()  # open renders with audio
        self._cancelled: dict[int, float] = {}
        self._ping_at: float | None = None
        self._nonce = 0
        self._missed = 0

    def loaded(self, now: float) -> None:
        self._loading = False
        self._heard_at = now

    def heard(self, now: float) -> None:
        """Any sign of life that counts as progress: a loading step, a pong."""
        self._heard_at = now
        self._ping_at = None
        self._missed = 0

    def opened(self, render_id: int, now: float) -> None:
        """It has something to do; it may have had before."""
        if not self._is_busy:
            self.heard(now)
        if render_id not in self._flowing:
            self._fresh.add(render_id)

    def audio(self, render_id: int, now: float) -> None:
        self.heard(now)
        if render_id in self._fresh:
            self._fresh.remove(render_id)
            self._flowing.add(render_id)

    def rests(self, render_id: int, now: float) -> None:
        """It stays open and has nothing to do: a worker that listens has heard all that it was told."""
        self.heard(now)
        self._fresh.discard(render_id)
        self._flowing.discard(render_id)

    def cancelled(self, render_id: int, now: float) -> None:
        self._cancelled[render_id] = now

    def closed(self, render_id: int, now: float) -> None:
        self.rests(render_id, now)
        self._cancelled.pop(render_id, None)

    def next_check(self) -> float:
        """The earliest instant at which `check` can have something to say."""
        return min([self._silence_ends(), *(at + self._limits.cancel_s for at in self._cancelled.values())])

    def check(self, now: float) -> SendPing | Condemn | None:
        if any(now >= at + self._limits.cancel_s for at in self._cancelled.values()):
            return Condemn("did not let go of a cancelled render", "cancel")
        if now < self._silence_ends():
            return None
        if self._loading:
            return Condemn("did not load in time", "load")
        if self._is_busy:
            return Condemn("stopped producing audio")
        return self._ping(now)

    @property
    def _is_busy(self) -> bool:
        return bool(self._fresh or self._flowing)

    def _silence_ends(self) -> float:
        if self._loading:
            return self._heard_at + self._limits.load_s
        if self._fresh:
            return self._heard_at + max(self._limits.first_chunk_s, self._limits.chunk_gap_s)
        if self._flowing:
            return self._heard_at + self._limits.chunk_gap_s
        if self._ping_at is not None:
            return self._ping_at + self._limits.ping_wait_s
        return self._heard_at + self._limits.ping_every_s

    def _ping(self, now: float) -> SendPing | Condemn:
        if self._ping_at is not None:
            self._missed += 1
        if self._missed >= self._limits.ping_misses:
            return Condemn("did not answer pings")
        self._ping_at = now
        self._nonce += 1
        return SendPing(self._nonce)
