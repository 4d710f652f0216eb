"""The workers as the scheduler sees them: seats, who sits where, and how fast each one is. Pure.

A worker that may hold several renders open is busy as soon as one is: more of them do not make it faster, they only let
it turn to whoever needs it most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from voice_server.core.scheduling.plan import RenderPlan
from voice_server.core.scheduling.snapshot import WorkerState
from voice_server.core.scheduling.speed import Mean, WorkerSpeed

_LOOKED_AT = 16  # workers compared for one decision: nearly as good as all of a thousand


@dataclass(slots=True)
class _Worker:
    name: str
    capacity: int
    open: set[int] = field(default_factory=set)
    fresh: dict[int, float] = field(default_factory=dict)  # open renders without any audio yet, since when
    speed: WorkerSpeed = field(default_factory=WorkerSpeed)

    def wait_s(self, renders: Mapping[int, RenderPlan], now: float) -> float:
        """Until the worker would turn to a render that is due at once."""
        first_s = self.speed.first_chunk_s or 0.0
        due = [one for one in self.open if one not in renders or renders[one].due_at <= now]
        return self.speed.until_free_s(now) + sum(first_s if one in self.fresh else self.speed.step_s for one in due)


class Seats:
    """`kept`: the part of a worker's seats that only an answer's first sentence may take, where it has several."""

    def __init__(self, kept: float) -> None:
        self._kept = kept
        self._workers: dict[str, _Worker] = {}
        self._idle: dict[str, _Worker] = {}
        self._beside: dict[str, _Worker] = {}  # busy, with a free seat
        self._taken: dict[int, tuple[_Worker, float]] = {}  # render id -> who, since when
        self._turn = Mean()  # how long a render takes from first to last

    # Workers

    def add(self, name: str, capacity: int) -> None:
        self._workers[name] = self._idle[name] = _Worker(name, capacity)

    def resize(self, name: str, capacity: int) -> None:
        if worker := self._workers.get(name):  # not there once it gets no more renders
            worker.capacity = capacity
            self._sort(worker)

    def remove(self, name: str) -> None:
        for workers in (self._workers, self._idle, self._beside):
            workers.pop(name, None)

    @property
    def has_idle(self) -> bool:
        return bool(self._idle)

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    @property
    def count(self) -> int:
        return len(self._workers)

    # Renders

    def take(self, name: str, render_id: int, now: float) -> None:
        worker = self._workers[name]
        if not worker.open:
            worker.speed.busy(now)
        worker.open.add(render_id)
        worker.fresh[render_id] = now
        self._taken[render_id] = worker, now
        self._sort(worker)

    def heard(self, render_id: int, audio_s: float, now: float) -> None:
        """Audio came."""
        worker, _ = self._taken[render_id]
        since = worker.fresh.pop(render_id, None)
        worker.speed.gave(audio_s, now, None if since is None else now - since)

    def release(self, render_id: int, now: float, *, complete: bool) -> None:
        worker, since = self._taken.pop(render_id)
        worker.open.discard(render_id)
        worker.fresh.pop(render_id, None)
        if complete:
            worker.speed.gave(0.0, now, None)
            self._turn.add(now - since)
        else:
            worker.speed.busy(now)  # what it did for a cancelled render says nothing of its speed
        self._sort(worker)

    def _sort(self, worker: _Worker) -> None:
        if worker.name not in self._workers:
            return
        self._idle.pop(worker.name, None)
        self._beside.pop(worker.name, None)
        if not worker.open:
            self._idle[worker.name] = worker
        elif len(worker.open) < worker.capacity:
            self._beside[worker.name] = worker  # last, so that all are looked at in turn

    # Decisions

    def choose(
        self, renders: Mapping[int, RenderPlan], now: float, *, is_first: bool, beside_others: bool, avoid: str = ""
    ) -> str | None:
        """The worker for a sentence: an idle one, else, if it is needed that soon, a free seat."""
        if self._idle:
            idle = _others(islice(self._idle.values(), _LOOKED_AT), avoid)
            return min(idle, key=lambda one: one.speed.real_time_factor or 0.0).name
        if not beside_others:
            return None
        seats = (one for one in self._beside.values() if is_first or len(one.open) < one.capacity - self._reserve(one))
        loads = [(len(one.open), one) for one in _others(islice(seats, _LOOKED_AT), avoid)]
        if not loads:
            return None
        fewest = min(load for load, _ in loads)
        even = [one for load, one in loads if load == fewest]  # even loads first: nobody moves later
        return min(even, key=lambda one: one.wait_s(renders, now)).name

    def _reserve(self, worker: _Worker) -> int:
        return max(1, int(worker.capacity * self._kept))

    # What is known of their speed

    @property
    def is_measured(self) -> bool:
        return any(worker.speed.real_time_factor for worker in self._workers.values())

    def supply(self, unmeasured: float) -> float:
        """Seconds of audio per second that all workers give; one that was not measured is taken for so much."""
        factors = (worker.speed.real_time_factor for worker in self._workers.values())
        return sum(1.0 / factor if factor else unmeasured for factor in factors)

    @property
    def speed(self) -> float | None:
        """Seconds of audio per second that a worker gives on average; None where none was measured."""
        speeds = [1.0 / factor for worker in self._workers.values() if (factor := worker.speed.real_time_factor)]
        return sum(speeds) / len(speeds) if speeds else None

    @property
    def grain_s(self) -> float:
        """Of audio that a worker makes at a stretch: where there is no stepping, whole sentences."""
        is_stepping = any(worker.capacity > 1 for worker in self._workers.values())
        return 0.0 if is_stepping or not self._workers else (self._turn.value or 0.0) * self.supply(1.0) / self.count

    def work_s(self, audio_s: float) -> float:
        """Of all the workers' time, for so much audio."""
        return audio_s / self.supply(1.0) if self._workers else 0.0

    def wait_s(self, before: int, remaining_s: Callable[[int], float]) -> float | None:
        """Until a seat is free after so many others have taken one; None where nothing was measured."""
        ends = sorted(
            sum(remaining_s(other) for other in worker.open) * worker.speed.real_time_factor
            for worker in self._workers.values()
            for _ in worker.open
            if worker.speed.real_time_factor
        )
        return ends[min(before, len(ends) - 1)] if ends else None

    def states(self) -> list[WorkerState]:
        return [
            WorkerState(
                worker.name,
                worker.capacity,
                sorted(worker.open),
                worker.speed.real_time_factor,
                worker.speed.first_chunk_s,
            )
            for worker in self._workers.values()
        ]


def _others(workers: Iterable[_Worker], avoid: str) -> list[_Worker]:
    """Without the one to avoid, unless there is no other."""
    workers = list(workers)
    return [worker for worker in workers if worker.name != avoid] or workers
