"""The laws of the scheduler under any order of events, checked against a model of what streams said and heard."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from voice_server.core.limits import StreamLimits
from voice_server.core.scheduling.plan import Assignment
from voice_server.core.scheduling.schedule import Scheduler

LIMITS = StreamLimits()
NOW = 1000.0
PASSER_BY = 10_000  # a stream that nobody else ever hears of


@dataclass
class Told:
    """One stream, as its client knows it."""

    live: bool
    said: int = 0  # sentences of this answer
    is_in_line: bool = False  # nothing of this answer was begun
    is_complete: bool = False
    waiting: list[int] = field(default_factory=list)
    open: dict[int, int] = field(default_factory=dict)  # render id -> sentence
    held: Counter[int] = field(default_factory=Counter)  # sentence -> rendered audio that was not delivered

    @property
    def deliverable_s(self) -> float:
        """What the first sentence that is not complete does not hold back."""
        head = min([*self.waiting, *self.open.values()], default=self.said)
        return sum(audio_s for sentence, audio_s in self.held.items() if sentence <= head)

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.open


class SchedulerMachine(RuleBasedStateMachine):
    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.real = Scheduler(LIMITS, fifo=False)
        self.told: dict[int, Told] = {}
        self.capacity: dict[str, int] = {}
        self.seats: dict[int, tuple[str, int]] = {}  # render id -> worker, stream; also of cancelled renders
        self.opened = 0

    @initialize(capacities=st.lists(st.integers(1, 4), min_size=1, max_size=3))
    def open_for_business(self, capacities: list[int]) -> None:
        for number, capacity in enumerate(capacities):
            self.worker_ready(f"w{number}", capacity)

    # What happens

    @rule(target=streams, live=st.sampled_from([True, True, False]), client=st.sampled_from("abc"))
    def open_stream(self, live: bool, client: str) -> int:
        self.opened += 1
        self.real.open_stream(self.opened, live=live, client=client)
        self.told[self.opened] = Told(live)
        return self.opened

    @rule(stream=streams, chars=st.lists(st.integers(1, 400), min_size=1, max_size=4))
    def submit(self, stream: int, chars: list[int]) -> None:
        told = self.told[stream]
        if told.is_complete and not told.is_idle:
            return  # a stream keeps the text of its next answer until this one is done
        if told.is_complete:
            self.told[stream] = told = Told(told.live, held=Counter({-1: told.held.total()}))
        told.is_in_line = told.is_in_line or told.said == 0
        for count in chars:
            self.real.submit(stream, told.said, count, self.now)
            told.waiting.append(told.said)
            told.said += 1
        self.assign()

    @rule(stream=streams)
    def finish(self, stream: int) -> None:
        self.real.finish(stream)
        self.told[stream].is_complete = True
        self.assign()

    @rule(seconds=st.sampled_from([0.06, 1.0, 7.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.assign()

    @rule(name=st.sampled_from(["w0", "w1", "w2"]), capacity=st.integers(1, 4))
    def worker_ready(self, name: str, capacity: int) -> None:
        if name not in self.capacity:
            self.real.worker_ready(name, capacity)
            self.capacity[name] = capacity
            self.assign()

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), seconds=st.sampled_from([0.1, 0.5, 3.0, 12.0]))
    def audio(self, data: st.DataObject, seconds: float) -> None:
        render_id = data.draw(st.sampled_from(sorted(self.seats)))
        self.real.rendered(render_id, seconds, self.now)
        told = self.told.get(self.seats[render_id][1])
        if told and render_id in told.open:
            told.held[told.open[render_id]] += seconds

    @rule(stream=streams, part=st.sampled_from([0.0, 0.5, 1.0]))
    def deliver(self, stream: int, part: float) -> None:
        """The client takes a part of what can be delivered, sentence by sentence."""
        told = self.told[stream]
        taken = left = part * told.deliverable_s
        for sentence in sorted(told.held):
            piece = min(left, told.held[sentence])
            told.held[sentence] -= piece
            left -= piece
        self.real.delivered(stream, taken, told.held.total(), self.now)
        for render_id, due_at in self.real.corrections(stream, self.now):
            assert render_id in told.open
            assert due_at >= self.now
        self.assign()

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), end=st.sampled_from(["done", "done", "failed", "said again", "bad"]))
    def end(self, data: st.DataObject, end: str) -> None:
        render_id = data.draw(st.sampled_from(sorted(self.seats)))
        stream = self.seats[render_id][1]
        sentence = self.release(render_id, complete=end in ("done", "bad"))
        if end in ("said again", "bad") and sentence is not None:
            self.retry(stream, sentence)
        self.assign()

    @precondition(lambda self: self.capacity)
    @rule(data=st.data())
    def hold_less(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.capacity)))
        self.capacity[name] = data.draw(st.integers(1, self.capacity[name]))
        self.real.worker_holds(name, self.capacity[name])
        self.assign()

    @precondition(lambda self: self.capacity)
    @rule(data=st.data())
    def lose_worker(self, data: st.DataObject) -> None:
        """Every sentence of it is said again, in the order of their renders, as the pool does it."""
        name = data.draw(st.sampled_from(sorted(self.capacity)))
        lost = [render_id for render_id, seat in sorted(self.seats.items()) if seat[0] == name]
        wanted = [(self.seats[render_id][1], self.release(render_id)) for render_id in lost]
        self.real.worker_gone(name)
        del self.capacity[name]
        for stream, sentence in wanted:
            if sentence is not None:
                self.retry(stream, sentence)
        self.assign()

    @rule(stream=streams)
    def barge_in(self, stream: int) -> None:
        assert set(self.real.clear(stream)) == set(self.told[stream].open)
        self.told[stream] = Told(self.told[stream].live)
        self.assign()

    @rule(stream=consumes(streams))
    def close_stream(self, stream: int) -> None:
        self.real.close_stream(stream)
        self.real.delivered(stream, 1.0, 0.0, self.now)  # crosses it
        del self.told[stream]
        self.assign()

    # The laws

    @rule(live=st.booleans(), sentences=st.integers(1, 3), audio_s=st.sampled_from([0.0, 1.0, 12.0]))
    def a_cancel_leaves_no_trace(self, live: bool, sentences: int, audio_s: float) -> None:
        """Somebody comes, is perhaps rendered, and goes: the others stand where they stood, but for measured speeds."""
        self.assign()
        other = copy.deepcopy(self.real)
        other.open_stream(PASSER_BY, live=live, client="a")
        for sentence in range(sentences):
            other.submit(PASSER_BY, sentence, 60, self.now)
        renders = other.assign(self.now)
        assert all(render.stream == PASSER_BY for render in renders)
        for render in renders:
            other.rendered(render.render_id, audio_s, self.now)
        other.delivered(PASSER_BY, audio_s, 0.0, self.now)
        other.close_stream(PASSER_BY)
        for render in renders:
            other.released(render.render_id, self.now)
        assert plain(other, self.now) == plain(self.real, self.now)
        assert PASSER_BY not in remembered(other)

    def assign(self) -> None:
        """Asked after every change, as the pool does."""
        for assignment in self.real.assign(self.now):
            self.start(assignment)
        idle = set(self.capacity) - {worker for worker, _ in self.seats.values()}
        assert not (idle and self.startable()), "a worker is idle while a sentence may start"

    def start(self, assignment: Assignment) -> None:
        told = self.told[assignment.stream]
        assert told.deliverable_s < LIMITS.ahead_s, "rendered ahead of a client that does not listen"
        assert assignment.sentence == min(told.waiting), "out of order"
        assert assignment.render_id not in self.seats
        told.is_in_line = False
        told.waiting.remove(assignment.sentence)
        told.open[assignment.render_id] = assignment.sentence
        self.seats[assignment.render_id] = (assignment.worker, assignment.stream)
        taken = [worker for worker, _ in self.seats.values()].count(assignment.worker)
        assert taken <= self.capacity[assignment.worker]

    @invariant()
    def somebody_is_inside_if_anybody_wants_to_be(self) -> None:
        streams = self.real.snapshot(self.now).streams
        wanted = [one for one in streams if one.live and one.waiting]
        assert not wanted or not self.capacity or any(one.admitted for one in streams if one.live)

    @invariant()
    def only_streams_that_wait_are_remembered(self) -> None:
        assert remembered(self.real) <= {stream for stream, told in self.told.items() if told.waiting}
        inside = sum(one.admitted for one in self.real.snapshot(self.now).streams)
        assert sum(self.real._entrance._lobby._inside.values()) == inside

    @invariant()
    def the_line_is_the_models_line(self) -> None:
        waiting = {stream for stream, told in self.told.items() if told.waiting}
        assert set(self.real._in_line._clients) == {stream for stream in waiting if self.told[stream].is_in_line}
        assert self.real.waiting_streams == len(self.real._in_line)
        for stream, told in self.told.items():
            assert self.real.waiting(stream) == len(told.waiting)
            place = self.real.place(stream, self.now)
            assert 1 <= place.position <= len(waiting) if place else stream not in waiting

    def teardown(self) -> None:
        """Whatever happened, everything that waits is started in the end, and nothing is left when all have gone."""
        self.worker_ready("w0", 1)
        while left := sum(len(told.waiting) for told in self.told.values()):
            for render_id in list(self.seats):
                self.release(render_id, complete=True)
            for stream in self.told:
                self.deliver(stream, 1.0)
            self.wait(60.0)
            assert sum(len(told.waiting) for told in self.told.values()) < left, "a sentence starves"
        for stream in list(self.told):
            self.close_stream(stream)
        for render_id in list(self.seats):
            self.release(render_id)
        assert not remembered(self.real)
        assert all(not worker.open for worker in self.real.snapshot(self.now).workers)
        assert not self.real._renders
        assert not self.real._entrance._lobby._inside

    # The model

    def startable(self) -> list[int]:
        inside = {one.stream for one in self.real.snapshot(self.now).streams if one.admitted}
        return [
            stream
            for stream, told in self.told.items()
            if stream in inside and told.waiting and told.deliverable_s < LIMITS.ahead_s
        ]

    def release(self, render_id: int, *, complete: bool = False) -> int | None:
        """The sentence that was wanted of the render; None when it was cancelled."""
        self.real.released(render_id, self.now, complete=complete)
        _, stream = self.seats.pop(render_id)
        told = self.told.get(stream)
        return told.open.pop(render_id, None) if told else None

    def retry(self, stream: int, sentence: int) -> None:
        told = self.told[stream]
        told.held[sentence] = 0  # what was not delivered of it is dropped
        self.real.delivered(stream, 0.0, told.held.total(), self.now)
        self.real.retry(stream, sentence, 30, self.now)
        told.waiting.append(sentence)


def plain(scheduler: Scheduler, now: float) -> Any:
    """All that people see of it, without what follows from measured speeds."""
    seen = scheduler.snapshot(now)
    workers = [replace(worker, rtf=None, first_chunk_s=None) for worker in seen.workers]
    streams = [replace(one, place=one.place and replace(one.place, eta_s=None)) for one in seen.streams]
    return workers, streams, seen.renders


def remembered(scheduler: Scheduler) -> set[int]:
    """Streams that stand in any line."""
    lines = (scheduler._line, scheduler._ahead, scheduler._newcomers)
    outside = {*scheduler._entrance._lobby._waiting, *scheduler._in_line._clients}
    return outside | {stream for line in lines for stream in line._keys}


TestAnyOrderOfEvents = SchedulerMachine.TestCase
TestAnyOrderOfEvents.pytestmark = pytest.mark.timeout(600)  # seconds, where others keep both cores busy
TestAnyOrderOfEvents.settings = settings(max_examples=18 * settings.default.max_examples, stateful_step_count=20)
