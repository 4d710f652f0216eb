"""The gateway, its workers and its listeners in simulated time, around the very scheduler that the gateway uses.

What is simulated is what decides about time: a worker steps the render that is due first, chunk by chunk, and is not
interrupted within a step; sentences reach the listener in order; a message takes a fixed time from one process to the
next. CPU, sockets and slow clients are not simulated: a gateway that is out of CPU is not found here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from bench.listeners import Asked, Engine, Listener, Period, Policy
from voice_server.core.limits import StreamLimits
from voice_server.core.scheduling.schedule import Assignment, Scheduler

HOP_S = 0.0007  # a message's way from one process to the next: measured by bench.first_audio
_EPSILON_S = 1e-9  # of audio: less is none

Action = Callable[[], None]


class Timeline:
    """What happens next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Action]] = []
        self._events = 0

    def at(self, when: float, action: Action) -> None:
        self._events += 1
        heapq.heappush(self._heap, (when, self._events, action))

    def after(self, delay_s: float, action: Action) -> None:
        self.at(self.now + delay_s, action)

    def run(self, until: Callable[[], bool]) -> None:
        while self._heap and not until():
            self.now, _, action = heapq.heappop(self._heap)
            action()


@dataclass(slots=True)
class _Open:
    render_id: int
    left_s: float  # of audio
    due_at: float
    pace: float
    is_fresh: bool = True


class SimulatedWorker:
    """As worker/host.py does it: a finished render ends at its next step, which takes no time."""

    def __init__(self, engine: Engine, timeline: Timeline, gateway: SimulatedGateway) -> None:
        self._engine = engine
        self._timeline = timeline
        self._gateway = gateway
        self._open: dict[int, _Open] = {}
        self._is_stepping = False

    def begin(self, given: Assignment, audio_s: float) -> None:
        self._open[given.render_id] = _Open(given.render_id, audio_s, given.deadline, given.pace)
        self._step()

    def move(self, render_id: int, due_at: float) -> None:
        if render := self._open.get(render_id):
            render.due_at = due_at

    def _step(self) -> None:
        if self._is_stepping or not self._open:
            return
        render = min(self._open.values(), key=lambda one: one.due_at)
        self._is_stepping = True
        if render.left_s < _EPSILON_S:
            self._timeline.after(0.0, lambda: self._end(render))
        else:
            audio_s = min(self._engine.chunk_s, render.left_s)
            self._timeline.after(self._work_s(render, audio_s), lambda: self._chunk(render, audio_s))

    def _work_s(self, render: _Open, audio_s: float) -> float:
        first_s = self._engine.first_chunk_s if render.is_fresh else 0.0
        return first_s + self._engine.step_s + self._engine.rtf * audio_s

    def _chunk(self, render: _Open, audio_s: float) -> None:
        render.left_s -= audio_s
        render.due_at += render.pace * audio_s
        render.is_fresh = False
        self._timeline.after(HOP_S, lambda: self._gateway.on_audio(render.render_id, audio_s))
        self._is_stepping = False
        self._step()

    def _end(self, render: _Open) -> None:
        del self._open[render.render_id]
        self._timeline.after(HOP_S, lambda: self._gateway.on_done(render.render_id))
        self._is_stepping = False
        self._step()


@dataclass(slots=True)
class _Stream:
    listener: Listener
    has_begun: bool = False  # a worker took its first sentence
    head: int = 0  # the sentence that is being heard
    held_s: dict[int, float] = field(default_factory=dict)  # by sentence: audio that is not its turn
    ended: set[int] = field(default_factory=set)

    @property
    def chars(self) -> tuple[int, ...]:
        return self.listener.asked.chars

    def take(self) -> float:
        """All audio whose turn it is."""
        taken_s = self.held_s.pop(self.head, 0.0)
        while self.head in self.ended:
            self.ended.discard(self.head)
            self.head += 1
            taken_s += self.held_s.pop(self.head, 0.0)
        return taken_s


class SimulatedGateway:
    """As pool/dispatcher.py and stream/stream.py do it, for one backend."""

    def __init__(self, engine: Engine, policy: Policy, period: Period, timeline: Timeline) -> None:
        self._engine = engine
        self._period = period
        self._timeline = timeline
        self._limits = StreamLimits()
        self.scheduler = Scheduler(self._limits, fifo=policy.scheduling == "fifo")
        self._workers = {str(number): SimulatedWorker(engine, timeline, self) for number in range(engine.workers)}
        for name in self._workers:
            self.scheduler.worker_ready(name, policy.capacity)
        self._streams: dict[int, _Stream] = {}
        self._renders: dict[int, Assignment] = {}  # open ones
        self._waiting = 0  # sentences
        self._will_look = False
        self.listeners: list[Listener] = []
        self.audio_s = 0.0  # that was heard within the measured period
        self.most_streams = 0

    # What the client says

    def come(self, answer: Asked) -> None:
        listener = Listener(answer)
        listener.playhead.start(answer.said_at(0))
        self.listeners.append(listener)
        self._streams[answer.number] = _Stream(listener)
        self.most_streams = max(self.most_streams, len(self._streams))
        self.scheduler.open_stream(answer.number, live=True, client=str(answer.number))
        for sentence in range(len(answer.chars)):
            self._timeline.at(answer.said_at(sentence) + HOP_S, partial(self._say, answer, sentence))

    def _say(self, answer: Asked, sentence: int) -> None:
        stream, now = answer.number, self._timeline.now
        if stream not in self._streams:
            return  # it was refused
        if not sentence and self.scheduler.waiting_streams >= self._limits.waiting_per_worker * len(self._workers):
            self._refuse(stream)
            return
        self.scheduler.submit(stream, sentence, answer.chars[sentence], now)
        self._waiting += 1
        if sentence == len(answer.chars) - 1:
            self.scheduler.finish(stream)
        self._pump()
        if not sentence and self.scheduler.place(stream, now):
            self._streams[stream].listener.was_queued = True
            self._timeline.after(self._limits.queue_wait_s, lambda: self._lose_patience(stream))

    def _lose_patience(self, stream: int) -> None:
        waits = self._streams.get(stream)
        if waits and not waits.has_begun:
            self._refuse(stream)

    def _refuse(self, stream: int) -> None:
        self._streams.pop(stream).listener.was_refused = True
        self._waiting -= self.scheduler.waiting(stream)
        self.scheduler.close_stream(stream)

    # What the workers say

    def on_audio(self, render_id: int, audio_s: float) -> None:
        stream, sentence = self._renders[render_id].stream, self._renders[render_id].sentence
        self.scheduler.rendered(render_id, audio_s, self._timeline.now)
        held = self._streams[stream].held_s
        held[sentence] = held.get(sentence, 0.0) + audio_s
        self._deliver(stream)
        self._pump()

    def on_done(self, render_id: int) -> None:
        ended = self._renders.pop(render_id)
        stream = ended.stream
        self.scheduler.released(render_id, self._timeline.now, complete=True)
        self._streams[stream].ended.add(ended.sentence)
        self._deliver(stream)
        if self._streams[stream].head == len(self._streams[stream].chars):
            self._streams.pop(stream).listener.is_done = True
            self.scheduler.close_stream(stream)
        self._pump()

    def _deliver(self, stream: int) -> None:
        listened = self._streams[stream]
        now, audio_s = self._timeline.now, listened.take()
        self.scheduler.delivered(stream, audio_s, sum(listened.held_s.values()), now)
        for render_id, due_at in self.scheduler.corrections(stream, now):
            self._timeline.after(HOP_S, partial(self._workers[self._renders[render_id].worker].move, render_id, due_at))
        if audio_s:
            listened.listener.hear(audio_s, now + HOP_S)
            if self._period.warm_up_s <= now + HOP_S < self._period.ends_at:
                self.audio_s += audio_s

    # Inside

    def _pump(self) -> None:
        for given in self.scheduler.assign(self._timeline.now):
            self._start(given)
        if self._waiting and not self._will_look:
            self._will_look = True
            self._timeline.after(self._limits.look_s, self._look)

    def _look(self) -> None:
        """Time alone may let somebody in."""
        self._will_look = False
        self._pump()

    def _start(self, given: Assignment) -> None:
        self._renders[given.render_id] = given
        self._waiting -= 1
        stream = self._streams[given.stream]
        stream.has_begun = True
        audio_s = stream.chars[given.sentence] * self._engine.seconds_per_char
        self._timeline.after(HOP_S, partial(self._workers[given.worker].begin, given, audio_s))


def simulate(engine: Engine, policy: Policy, period: Period, answers: Iterable[Asked]) -> SimulatedGateway:
    """A run as bench.schedule makes it."""
    timeline = Timeline()
    gateway = SimulatedGateway(engine, policy, period, timeline)
    for answer in answers:
        timeline.at(answer.at, partial(gateway.come, answer))
    timeline.at(period.stops_at, lambda: None)

    def is_over() -> bool:
        return timeline.now >= period.stops_at

    timeline.run(is_over)
    for listener in gateway.listeners:
        listener.stop(timeline.now)
    return gateway
