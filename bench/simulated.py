"""The gateway and its listeners in simulated time, around the very scheduler that the gateway uses.

What is simulated is what decides about time: the steps of the workers (bench/nodes.py), sentences that reach the
listener in order, the time that a message takes from one process to the next, and what a lost worker had open: another
one renders it from its beginning, and its listener gets what he does not have yet. CPU, sockets and slow clients are
not simulated: a gateway that is out of CPU is not found here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.listeners import Asked, Engine, Listener, Period, Policy
from bench.nodes import NOTHING_S, Cluster, Nodes, SimulatedWorker
from bench.timeline import HOP_S, Timeline
from voice_server.core.limits import StreamLimits
from voice_server.core.scheduling.plan import Assignment
from voice_server.core.scheduling.schedule import Scheduler
from voice_server.stream.sentence import ATTEMPTS

AT_HOME = Cluster()


@dataclass(slots=True)
class _Stream:
    """As core/audio/reorder.py does it, with seconds instead of bytes."""

    listener: Listener
    head: int = 0  # the sentence that is being heard
    given_s: float = 0.0  # of it
    held_s: dict[int, float] = field(default_factory=dict)  # by sentence: audio that is not its turn
    skip_s: dict[int, float] = field(default_factory=dict)  # of the head, while it is rendered again: what was heard
    ended: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)  # by sentence

    @property
    def chars(self) -> tuple[int, ...]:
        return self.listener.asked.chars

    @property
    def is_complete(self) -> bool:
        return self.head == len(self.chars)

    def push(self, sentence: int, audio_s: float) -> float:
        """How much audio may be heard now."""
        if self.skip_s:
            audio_s -= self._skipped(sentence, audio_s)
        if sentence == self.head:
            self.given_s += audio_s
            return audio_s
        self.held_s[sentence] = self.held_s.get(sentence, 0.0) + audio_s
        return 0.0

    def end(self, sentence: int) -> float:
        """How much audio of those after it may be heard now."""
        self.ended.add(sentence)
        freed_s = 0.0
        while self.head in self.ended:
            self.head += 1
            self.given_s = self.held_s.pop(self.head, 0.0)
            freed_s += self.given_s
        return freed_s

    def _skipped(self, sentence: int, audio_s: float) -> float:
        skipped_s = min(self.skip_s.get(sentence, 0.0), audio_s)
        self.skip_s[sentence] = self.skip_s.get(sentence, 0.0) - skipped_s
        return skipped_s

    def restart(self, sentence: int) -> None:
        """Another render begins with its first word: what was given cannot be taken back."""
        self.held_s.pop(sentence, None)
        if sentence == self.head:
            self.skip_s = {sentence: self.given_s}


class SimulatedGateway:
    """As pool/dispatcher.py, stream/stream.py and stream/sentence.py do it, for one backend. Implements WorkerOwner."""

    def __init__(self, engine: Engine, policy: Policy, period: Period, timeline: Timeline) -> None:
        self._engine = engine
        self._policy = policy
        self._period = period
        self._timeline = timeline
        self._limits = StreamLimits()
        self.scheduler = Scheduler(self._limits, fifo=policy.scheduling == "fifo")
        self._workers: dict[str, SimulatedWorker] = {}
        self._streams: dict[int, _Stream] = {}
        self._renders: dict[int, Assignment] = {}  # open ones
        self._waiting = 0  # sentences
        self._will_look = False
        self._unfinished = 0  # answers of which audio is still to come
        self.listeners: list[Listener] = []
        self.audio_s = 0.0  # that was heard within the measured period
        self.most_streams = 0  # at once, of such answers
        self.again = 0  # sentences that were rendered a second time

    # What the client says

    def come(self, answer: Asked) -> None:
        listener = Listener(answer)
        listener.playhead.start(answer.said_at(0))
        self.listeners.append(listener)
        self._streams[answer.number] = _Stream(listener)
        self._unfinished += 1
        self.most_streams = max(self.most_streams, self._unfinished)
        self.scheduler.open_stream(answer.number, live=True, client=str(answer.number))
        for sentence in range(len(answer.chars)):
            self._timeline.at(answer.said_at(sentence) + HOP_S, self._say, answer, sentence)

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
            self._timeline.after(self._limits.queue_wait_s, self._lose_patience, stream)

    def _lose_patience(self, stream: int) -> None:
        waits = self._streams.get(stream)
        if waits and not waits.attempts:
            self._refuse(stream)

    def _refuse(self, stream: int) -> None:
        self._waiting -= self.scheduler.waiting(stream)
        self._streams[stream].listener.was_refused = True
        self._unfinished -= 1
        self._leave(stream)

    def _leave(self, stream: int) -> None:
        del self._streams[stream]
        self.scheduler.close_stream(stream)

    # What the workers say

    def on_ready(self, worker: SimulatedWorker) -> None:
        self._workers[worker.name] = worker
        self.scheduler.worker_ready(worker.name, self._policy.capacity)
        self._pump()

    def on_audio(self, render_id: int, audio_s: float) -> None:
        given = self._renders[render_id]
        self.scheduler.rendered(render_id, audio_s, self._timeline.now)
        stream = self._streams[given.stream]
        if (heard_s := stream.push(given.sentence, audio_s)) > NOTHING_S:
            self._deliver(given.stream, stream, heard_s)
        if self._waiting:
            self._pump()

    def on_done(self, render_id: int) -> None:
        ended = self._renders.pop(render_id)
        self.scheduler.released(render_id, self._timeline.now, complete=True)
        self._end(ended.stream, ended.sentence)
        self._pump()

    def on_lost(self, worker: SimulatedWorker) -> None:
        lost = [render_id for render_id, given in self._renders.items() if given.worker == worker.name]
        for render_id in lost:
            self.scheduler.released(render_id, self._timeline.now)
        self.scheduler.worker_gone(worker.name)
        del self._workers[worker.name]
        for render_id in lost:
            self._again(self._renders.pop(render_id))
        self._pump()

    def _again(self, lost: Assignment) -> None:
        stream, now = self._streams[lost.stream], self._timeline.now
        if stream.attempts[lost.sentence] == ATTEMPTS:
            stream.listener.failed += 1
            self._end(lost.stream, lost.sentence)
            return
        self.again += 1
        self._waiting += 1
        stream.restart(lost.sentence)
        self.scheduler.delivered(lost.stream, 0.0, sum(stream.held_s.values()), now)
        self.scheduler.retry(lost.stream, lost.sentence, stream.chars[lost.sentence], now, avoid=lost.worker)

    def _end(self, stream: int, sentence: int) -> None:
        """Who has got the whole answer leaves when it is heard."""
        spoken = self._streams[stream]
        if (heard_s := spoken.end(sentence)) > NOTHING_S:
            self._deliver(stream, spoken, heard_s)
        if spoken.is_complete:
            spoken.listener.is_done = True
            self._unfinished -= 1
            self._timeline.at(spoken.listener.playhead.runs_out_at, self._leave, stream)

    def _deliver(self, stream: int, listened: _Stream, audio_s: float) -> None:
        now = self._timeline.now
        self.scheduler.delivered(stream, audio_s, sum(listened.held_s.values()), now)
        for render_id, due_at in self.scheduler.corrections(stream, now):
            worker = self._workers[self._renders[render_id].worker]
            worker.there.send(0.0, worker.move, render_id, due_at)
        listened.listener.hear(audio_s, now + HOP_S)
        if self._period.warm_up_s <= now + HOP_S < self._period.ends_at:
            self.audio_s += audio_s

    # Inside

    def _pump(self) -> None:
        if not self._waiting:
            return
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
        stream.attempts[given.sentence] = stream.attempts.get(given.sentence, 0) + 1
        audio_s = stream.chars[given.sentence] * self._engine.seconds_per_char
        worker = self._workers[given.worker]
        worker.there.send(0.0, worker.begin, given, audio_s)


class Simulated(NamedTuple):
    gateway: SimulatedGateway
    nodes: Nodes


def simulate(
    engine: Engine, policy: Policy, period: Period, answers: Iterable[Asked], cluster: Cluster = AT_HOME
) -> Simulated:
    """A run as bench.schedule makes it, on the workers of any cluster."""
    timeline = Timeline()
    gateway = SimulatedGateway(engine, policy, period, timeline)
    nodes = Nodes(engine, cluster, timeline, gateway)
    for answer in answers:
        timeline.at(answer.at, gateway.come, answer)
    timeline.run(until=period.stops_at)
    for listener in gateway.listeners:
        listener.stop(timeline.now)
    return Simulated(gateway, nodes)
