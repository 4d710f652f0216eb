"""The laws of the scheduler under any order of events, checked against a model of the line."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from voice_server.core.limits import StreamLimits
from voice_server.core.schedule import Assignment, Scheduler

LIMITS = StreamLimits()
NOW = 1000.0


@dataclass
class ModelStream:
    live: bool
    said: int = 0
    waiting: list[int] = field(default_factory=list)
    open: dict[int, int] = field(default_factory=dict)  # render id -> sentence
    runs_out_at: float = 0.0
    undelivered_s: float = 0.0

    def far_ahead(self, now: float) -> bool:
        return len(self.open) >= LIMITS.ahead_sentences or self.runs_out_at - now >= LIMITS.ahead_s


class SchedulerMachine(RuleBasedStateMachine):
    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.real = Scheduler(LIMITS)
        self.model: dict[int, ModelStream] = {}
        self.capacity: dict[str, int] = {}
        self.seats: dict[int, tuple[str, int]] = {}  # render id -> worker, stream; also of cancelled renders
        self.opened = 0

    @initialize()
    def open_for_business(self) -> None:
        self.worker_ready("w0", 3)

    @rule(target=streams, live=st.sampled_from([True, True, False]))
    def open_stream(self, live: bool) -> int:
        self.opened += 1
        self.real.open_stream(self.opened, live=live)
        self.model[self.opened] = ModelStream(live)
        return self.opened

    @rule(stream=streams, chars=st.lists(st.integers(1, 400), min_size=1, max_size=4))
    def submit(self, stream: int, chars: list[int]) -> None:
        plan = self.model[stream]
        for count in chars:
            self.real.submit(stream, plan.said, count, self.now)
            plan.waiting.append(plan.said)
            plan.said += 1
        self.assign()

    @rule(seconds=st.sampled_from([0.01, 1.0, 7.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(name=st.sampled_from(["w0", "w1", "w2"]), capacity=st.integers(1, 3))
    def worker_ready(self, name: str, capacity: int) -> None:
        if name not in self.capacity:
            self.real.worker_ready(name, capacity)
            self.capacity[name] = capacity
            self.assign()

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.5, 3.0, 12.0]))
    def audio(self, data: st.DataObject, seconds: float) -> None:
        render_id = data.draw(st.sampled_from(sorted(self.seats)))
        self.real.rendered(render_id, seconds)
        plan = self.model.get(self.seats[render_id][1])
        if plan and render_id in plan.open:
            plan.undelivered_s += seconds

    @rule(stream=streams, part=st.sampled_from([0.0, 0.5, 1.0]))
    def deliver(self, stream: int, part: float) -> None:
        plan = self.model[stream]
        seconds = part * plan.undelivered_s
        plan.undelivered_s -= seconds
        if seconds:
            plan.runs_out_at = max(plan.runs_out_at, self.now) + seconds
        self.real.delivered(stream, seconds, plan.undelivered_s, self.now)
        self.assign()

    @precondition(lambda self: self.seats)
    @rule(data=st.data(), complete=st.booleans())
    def end(self, data: st.DataObject, complete: bool) -> None:
        self.release(data.draw(st.sampled_from(sorted(self.seats))), complete=complete)
        self.assign()

    @precondition(lambda self: self.capacity)
    @rule(data=st.data())
    def lose_worker(self, data: st.DataObject) -> None:
        """Every listener's sentence is retried, in the order of their renders, as the pool does it."""
        name = data.draw(st.sampled_from(sorted(self.capacity)))
        lost = [render_id for render_id, seat in sorted(self.seats.items()) if seat[0] == name]
        wanted = [(self.seats[render_id][1], self.release(render_id)) for render_id in lost]
        self.real.worker_gone(name)
        del self.capacity[name]
        for stream, sentence in wanted:
            if sentence is not None:
                self.real.retry(stream, sentence, 30, self.now)
                self.model[stream].waiting = sorted([sentence, *self.model[stream].waiting])
        self.assign()

    @rule(stream=streams)
    def barge_in(self, stream: int) -> None:
        assert set(self.real.clear(stream)) == set(self.model[stream].open)
        self.model[stream] = ModelStream(self.model[stream].live)

    @rule(stream=consumes(streams))
    def close_stream(self, stream: int) -> None:
        self.real.close_stream(stream)
        self.real.delivered(stream, 1.0, 0.0, self.now)
        del self.model[stream]

    def assign(self) -> None:
        """Asked after every change, as the pool does."""
        deadlines = {stream: self.real.deadline(stream) for stream in self.startable()}
        urgencies = {stream: self.urgency(stream, deadline) for stream, deadline in deadlines.items()}
        assignments = self.real.assign(self.now)
        for first in assignments[:1]:
            assert urgencies[first.stream] == min(urgencies.values())
            assert first.deadline == deadlines[first.stream]
        for assignment in assignments:
            self.start(assignment)
        assert not self.startable() or not self.free_seats(), "a seat is free while a sentence may start"

    @invariant()
    def the_line_is_the_models_line(self) -> None:
        waiting = {stream for stream, plan in self.model.items() if plan.waiting}
        assert self.real.waiting_streams == len(waiting)
        for stream, plan in self.model.items():
            assert self.real.waiting(stream) == len(plan.waiting)
            position = self.real.position(stream, self.now)
            assert 1 <= position <= len(waiting) if stream in waiting else position == 0

    def teardown(self) -> None:
        """Whatever happened, everything that waits is started in the end, and every seat is free again."""
        self.worker_ready("w0", 1)
        while left := sum(len(plan.waiting) for plan in self.model.values()):
            for render_id in list(self.seats):
                self.release(render_id)
            for stream in self.model:
                self.deliver(stream, 1.0)
            assert sum(len(plan.waiting) for plan in self.model.values()) < left

    # The model

    def startable(self) -> list[int]:
        return [stream for stream, plan in self.model.items() if plan.waiting and plan.undelivered_s < LIMITS.ahead_s]

    def urgency(self, stream: int, deadline: float) -> tuple[bool, float]:
        return self.model[stream].far_ahead(self.now) and deadline > self.now, deadline

    def free_seats(self) -> int:
        return sum(self.capacity.values()) - len(self.seats)

    def start(self, assignment: Assignment) -> None:
        plan = self.model[assignment.stream]
        assert plan.undelivered_s < LIMITS.ahead_s
        assert assignment.sentence == plan.waiting.pop(0), "out of order"
        assert assignment.render_id not in self.seats
        self.seats[assignment.render_id] = (assignment.worker, assignment.stream)
        plan.open[assignment.render_id] = assignment.sentence
        taken = [worker for worker, _ in self.seats.values()].count(assignment.worker)
        assert taken <= self.capacity[assignment.worker]

    def release(self, render_id: int, *, complete: bool = False) -> int | None:
        """The sentence that was wanted of the render; None when it was cancelled."""
        self.real.released(render_id, complete=complete)
        _, stream = self.seats.pop(render_id)
        plan = self.model.get(stream)
        return plan.open.pop(render_id, None) if plan else None


TestAnyOrderOfEvents = SchedulerMachine.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
