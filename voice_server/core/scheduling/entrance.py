"""Who is let in: a live answer waits outside until the measured speed of the workers carries one more listener.

Pure. It reads the streams, seats and rates of speech of its scheduler, and changes only who of them is admitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from voice_server.core.limits import StreamLimits
from voice_server.core.scaling import Load
from voice_server.core.scheduling.admission import Demand, Listener
from voice_server.core.scheduling.lobby import Lobby
from voice_server.core.scheduling.plan import StreamPlan
from voice_server.core.scheduling.seats import Seats
from voice_server.core.scheduling.snapshot import Place
from voice_server.core.scheduling.speed import Mean, SpeechRate


class Entrance:
    def __init__(self, limits: StreamLimits, streams: Mapping[int, StreamPlan], seats: Seats, rate: SpeechRate) -> None:
        self._limits = limits
        self._streams = streams
        self._seats = seats
        self._rate = rate
        self._lobby = Lobby()
        self._answer_s = Mean()  # of audio in a whole answer
        self._demand = Demand(())  # of those inside, as it was when somebody last looked
        self._demand_at = -math.inf
        self._full_until = -math.inf

    def __len__(self) -> int:
        """Of those who wait outside."""
        return len(self._lobby)

    def __contains__(self, stream: int) -> bool:
        return stream in self._lobby

    def look_again(self) -> None:
        """Something has changed a lot: a worker came, or everyone has gone."""
        self._demand_at = self._full_until = -math.inf

    def come(self, stream: int, plan: StreamPlan) -> None:
        self._lobby.come(stream, plan.client)

    def give_up(self, stream: int) -> None:
        self._lobby.give_up(stream)

    def enter(self, stream: int, plan: StreamPlan) -> None:
        if not plan.is_admitted:
            plan.is_admitted = True
            self._lobby.enter(stream, plan.client)

    def leave(self, plan: StreamPlan) -> None:
        if plan.is_admitted:
            plan.is_admitted = False
            self._lobby.leave(plan.client)
            if self._lobby.is_nobody_inside:  # else the one who was counts until the next look, and keeps the next out
                self.look_again()

    def leave_if_done(self, plan: StreamPlan) -> None:
        if plan.is_complete and plan.is_idle:
            if plan.made_s:
                self._answer_s.add(plan.made_s)
            self.leave(plan)

    def let_in(self, now: float) -> list[int]:
        """Let in whom the workers can carry; somebody always, when nobody is inside."""
        let_in: list[int] = []
        if not self._lobby or now < self._full_until or not self._seats.count:
            return let_in
        self._look(now)
        while self._lobby:
            stream = self._lobby.next
            if not self._demand.take(Listener(0.0, self._left_s(self._streams[stream])), self._supply):
                self._full_until = now + self._look_s
                break
            self.enter(stream, self._streams[stream])
            let_in.append(stream)
        return let_in

    # Places

    def next_in_s(self, now: float) -> float | None:
        """Until the next one is let in; there is one."""
        if not self._seats.is_measured:
            return None
        self._look(now)
        return self._demand.wait_s([self._left_s(self._streams[self._lobby.next])], self._supply)

    def place(self, stream: int, now: float) -> Place:
        order = self._lobby.order
        position = order.index(stream) + 1
        if not self._seats.is_measured:
            return Place(position, None)
        self._look(now)
        before = order[: min(position, self._limits.waits_counted)]
        wait_s = self._demand.wait_s([self._left_s(self._streams[other]) for other in before], self._supply)
        return Place(position, wait_s * position / len(before))

    def places(self, now: float) -> dict[int, Place]:
        """The last one's wait is worked out; the others' are in proportion."""
        order = self._lobby.order
        last = self.place(order[-1], now) if order else None
        if not last or last.eta_s is None:
            return {stream: Place(number, None) for number, stream in enumerate(order, 1)}
        return {stream: Place(number, last.eta_s * number / len(order)) for number, stream in enumerate(order, 1)}

    # What there is, and what is needed

    def load(self, misses: int, now: float) -> Load:
        """What those inside, those outside and whole files ask of the workers."""
        self._look(now)
        rate = self._demand.rate(Listener(0.0, self._left_s(self._streams[stream])) for stream in self._lobby.order)
        files_s = sum(plan.left_s(self._rate.seconds) for plan in self._streams.values() if not plan.live)
        each = self._limits.supply * (self._seats.speed or self._limits.unmeasured_listeners)
        return Load(
            rate + files_s / self._limits.file_wait_s, each, len(self._lobby), misses, idle=self._seats.idle_count
        )

    def _look(self, now: float) -> None:
        """At everyone inside. Not too often: it takes time, and those let in meanwhile are known."""
        if now >= self._demand_at + self._look_s:
            self._demand, self._demand_at = Demand(self._listeners(now), self._spare_s), now

    @property
    def _look_s(self) -> float:
        return self._limits.look_s * (1.0 + len(self._demand) / self._limits.looked_at)

    @property
    def _supply(self) -> float:
        """Seconds of audio per second that may be promised."""
        return self._limits.supply * self._seats.supply(self._limits.unmeasured_listeners)

    @property
    def _spare_s(self) -> float:
        return self._limits.spare_s + self._seats.grain_s

    def _listeners(self, now: float) -> list[Listener]:
        """Those who are inside; not clients that do not take what they have."""
        return [
            Listener(max(0.0, plan.audible_until(now) - now), self._left_s(plan))
            for plan in self._streams.values()
            if plan.live and plan.is_admitted and plan.deliverable_s < self._limits.ahead_s
            if not plan.is_idle or plan.audible_until(now) > now
        ]

    def _left_s(self, plan: StreamPlan) -> float:
        """Of audio that an answer still needs; of one whose text is not complete, as far as one can guess."""
        known_s = plan.left_s(self._rate.seconds)
        if plan.is_complete:
            return known_s
        typical_s = (self._answer_s.value or 0.0) - plan.made_s
        return max(known_s, typical_s, self._limits.answer_s)
