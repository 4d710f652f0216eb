"""Gives each hearing a seat at a worker that listens, and carries its news back.

Next is a hearing of the client that has the fewest seats, in turns; one that fills the line keeps nobody out of it. A
hearing stays at its worker until it ends: the worker holds the audio that is not text yet. When the worker dies, the
hearing is told and may ask for another seat, before all others; what has to be said again is its own matter.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from voice_server.core.errors import BackendUnavailable, Overloaded, VoiceError
from voice_server.core.limits import HearingLimits
from voice_server.core.scaling import Load
from voice_server.core.scheduling.places import Places
from voice_server.pool.worker import Ending, Worker
from voice_server.wire.messages import Done, Failed, Listen, Ready, Text


class HearingSink(Protocol):
    """A hearing, as the switchboard sees it. Each seat ends with exactly one of the last three, unless it was left."""

    def on_seated(self, seat: Seat) -> None: ...

    def on_refused(self, error: VoiceError) -> None: ...

    def on_text(self, text: Text) -> None: ...

    def on_done(self) -> None: ...

    def on_failed(self, failed: Failed) -> None: ...

    def on_lost(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Seat:
    """One hearing's place at one worker."""

    worker: Worker
    render_id: int

    @property
    def sample_rate(self) -> int:
        assert self.worker.ready is not None
        return self.worker.ready.sample_rate

    def hear(self, pcm: bytes) -> None:
        self.worker.hear(self.render_id, pcm)

    def finish(self) -> None:
        self.worker.finish(self.render_id)


@dataclass(frozen=True, slots=True)
class _Wish:
    """For a seat."""

    sink: HearingSink
    options: dict[str, Any]
    client: str


@dataclass(slots=True)
class _Desk:
    """A worker and its seats."""

    worker: Worker
    seats: int  # 0: it is leaving
    taken: set[int] = field(default_factory=set)  # also by renders that were cancelled and have not ended


class Switchboard:
    """The hearings and workers of one backend. Implements WorkerOwner."""

    def __init__(self, limits: HearingLimits) -> None:
        self._limits = limits
        self._desks: dict[str, _Desk] = {}
        self._again: deque[_Wish] = deque()  # of those who lost their seat
        self._line: dict[int, _Wish] = {}
        self._places = Places()  # in line
        self._next_place = 1
        self._seated: dict[int, _Wish] = {}  # by render, those that somebody still wants
        self._next_render = 1
        self._refusal: Callable[[], BackendUnavailable] | None = None

    # Hearings

    def submit(self, sink: HearingSink, options: dict[str, Any], client: str, *, again: bool = False) -> None:
        """Ask for a seat; `again` is for one that lost its own. The answer may come before this returns."""
        wish = _Wish(sink, options, client)
        if again:
            self._again.append(wish)
        else:
            self._stand_in_line(wish)
        self._seat_all()

    def leave(self, sink: HearingSink) -> None:
        """Nobody wants to know any more; no method of `sink` is called again."""
        self._again = deque(wish for wish in self._again if wish.sink is not sink)
        for place in [place for place, wish in self._line.items() if wish.sink is sink]:
            self._step_out(place)
        for render_id in [render_id for render_id, wish in self._seated.items() if wish.sink is sink]:
            del self._seated[render_id]
            self._desk_of(render_id).worker.cancel(render_id)

    @property
    def waiting(self) -> int:
        return len(self._again) + len(self._line)

    def load(self) -> Load:
        """In seats."""
        at_work = [desk for desk in self._desks.values() if desk.seats]
        taken = sum(len(desk.taken) for desk in at_work)
        each = max((desk.seats for desk in at_work), default=1)
        idle = sum(not desk.taken for desk in at_work)
        return Load(taken + self.waiting, each, self.waiting, misses=0, idle=idle)

    @property
    def has_workers(self) -> bool:
        return any(desk.seats for desk in self._desks.values())

    def retire(self, worker: Worker) -> None:
        """It gets no more hearings; those it has go on."""
        self._desks[worker.name].seats = 0

    def refuse(self, reason: Callable[[], BackendUnavailable] | None) -> None:
        """No worker will come soon: tell everyone who waits, and everyone who comes. None: they are welcome again."""
        self._refusal = reason
        self._seat_all()

    # WorkerOwner

    def on_ready(self, worker: Worker, ready: Ready) -> None:
        self._refusal = None
        self._desks[worker.name] = _Desk(worker, ready.capacity)
        self._seat_all()

    def on_capacity(self, worker: Worker, capacity: int) -> None:
        if desk := self._desks.get(worker.name):
            desk.seats = min(desk.seats, capacity)  # 0 stays: it was retired

    def on_audio(self, worker: Worker, render_id: int, pcm: bytes) -> None:
        raise AssertionError("the conversation lets no worker that listens say audio")

    def on_text(self, worker: Worker, text: Text) -> None:
        if wish := self._seated.get(text.render_id):
            wish.sink.on_text(text)

    def on_end(self, worker: Worker, ending: Ending) -> None:
        if desk := self._desks.get(worker.name):  # not there if this end is what condemned the worker
            desk.taken.discard(ending.render_id)
        if wish := self._seated.pop(ending.render_id, None):
            match ending:
                case Done():
                    wish.sink.on_done()
                case Failed():
                    wish.sink.on_failed(ending)
        self._seat_all()

    def on_lost(self, worker: Worker, renders: frozenset[int], reason: str) -> None:
        self._desks.pop(worker.name, None)
        for render_id in sorted(renders):
            if wish := self._seated.pop(render_id, None):
                wish.sink.on_lost(reason)
        self._seat_all()

    # Inside

    def _stand_in_line(self, wish: _Wish) -> None:
        place, self._next_place = self._next_place, self._next_place + 1
        loser = self._places.loser(place, wish.client, self._limits.waiting_per_worker * max(1, len(self._desks)))
        if loser != place:
            self._line[place] = wish
            self._places.take(place, wish.client)
        if loser is not None:
            loses = wish if loser == place else self._step_out(loser)
            loses.sink.on_refused(Overloaded("too many wait to be heard; try again in a few seconds"))

    def _step_out(self, place: int) -> _Wish:
        self._places.leave(place)
        return self._line.pop(place)

    def _seat_all(self) -> None:
        while self.waiting and (desk := self._freest()):
            self._seat(self._next(), desk)
        if self._refusal and not self.has_workers:
            while self.waiting:
                self._next().sink.on_refused(self._refusal())

    def _next(self) -> _Wish:
        """Takes it out of the line."""
        if self._again:
            return self._again.popleft()
        return self._line.pop(self._places.pop(Counter(wish.client for wish in self._seated.values())))

    def _freest(self) -> _Desk | None:
        desk = max(self._desks.values(), key=lambda desk: desk.seats - len(desk.taken), default=None)
        return desk if desk and desk.seats > len(desk.taken) else None

    def _seat(self, wish: _Wish, desk: _Desk) -> None:
        render_id, self._next_render = self._next_render, self._next_render + 1
        desk.taken.add(render_id)
        self._seated[render_id] = wish
        desk.worker.listen(Listen(render_id, wish.options))
        wish.sink.on_seated(Seat(desk.worker, render_id))

    def _desk_of(self, render_id: int) -> _Desk:
        return next(desk for desk in self._desks.values() if render_id in desk.taken)
