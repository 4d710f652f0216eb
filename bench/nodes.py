"""Workers in simulated time, and the machines that they live on. One is lost now and then, and comes back.

A worker steps the render that is due first, chunk by chunk, and is not interrupted within a step. A loss is noticed at
once where the node's kernel is there to say so; after a cable was pulled, when a worker has made no progress for too
long.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import Protocol

from bench.listeners import Engine
from bench.timeline import Link, Timeline, Way, Wire
from voice_server.core.limits import StreamLimits
from voice_server.core.scheduling.plan import Assignment

BYTES_PER_S = 2 * StreamLimits().sample_rate  # of audio
NOTHING_S = 1e-9  # of audio: less is none
SEED = 7


class WorkerOwner(Protocol):
    def on_ready(self, worker: SimulatedWorker) -> None: ...

    def on_audio(self, render_id: int, audio_s: float) -> None: ...

    def on_done(self, render_id: int) -> None: ...

    def on_lost(self, worker: SimulatedWorker) -> None: ...


@dataclass(slots=True)
class _Open:
    render_id: int
    left_s: float  # of audio
    due_at: float
    pace: float
    is_fresh: bool = True


class SimulatedWorker:
    """As worker/host.py does it: a finished render ends at its next step, which takes no time."""

    def __init__(
        self, name: str, engine: Engine, timeline: Timeline, owner: WorkerOwner, there: Way, back: Way
    ) -> None:
        self.name = name
        self.there = there
        self.back = back
        self._engine = engine
        self._timeline = timeline
        self._owner = owner
        self._open: dict[int, _Open] = {}
        self._is_stepping = False
        self._is_dead = False

    def begin(self, given: Assignment, audio_s: float) -> None:
        self._open[given.render_id] = _Open(given.render_id, audio_s, given.deadline, given.pace)
        self._step()

    def move(self, render_id: int, due_at: float) -> None:
        if render := self._open.get(render_id):
            render.due_at = due_at

    def die(self) -> None:
        """Without a word. What is on its way to the gateway still arrives."""
        self._is_dead = True

    def _step(self) -> None:
        if self._is_stepping or self._is_dead or not self._open:
            return
        self._is_stepping = True
        render = self._most_urgent()
        if render.left_s < NOTHING_S:
            self._timeline.after(0.0, self._end, render)
            return
        engine, audio_s = self._engine, min(self._engine.chunk_s, render.left_s)
        first_s = engine.first_chunk_s if render.is_fresh else 0.0
        self._timeline.after(first_s + engine.step_s + engine.rtf * audio_s, self._chunk, render, audio_s)

    def _most_urgent(self) -> _Open:
        if len(self._open) == 1:  # most often: it halves what a step costs the simulation
            return next(iter(self._open.values()))
        return min(self._open.values(), key=lambda one: one.due_at)

    def _chunk(self, render: _Open, audio_s: float) -> None:
        if self._is_dead:
            return
        render.left_s -= audio_s
        render.due_at += render.pace * audio_s
        render.is_fresh = False
        self.back.send(audio_s * BYTES_PER_S, self._owner.on_audio, render.render_id, audio_s)
        self._is_stepping = False
        self._step()

    def _end(self, render: _Open) -> None:
        if self._is_dead:
            return
        del self._open[render.render_id]
        self.back.send(0.0, self._owner.on_done, render.render_id)
        self._is_stepping = False
        self._step()


@dataclass(frozen=True, slots=True)
class Losses:
    """Of nodes, drawn by chance."""

    first_at: float = math.inf
    every_s: float = 60.0
    noticed_after_s: float = 0.0
    back_after_s: float = 90.0  # once it was noticed: to start the machine, and to load the model


@dataclass(frozen=True, slots=True)
class Cluster:
    nodes: int = 1
    link: Link = field(default_factory=Link)
    losses: Losses = field(default_factory=Losses)


class Nodes:
    def __init__(self, engine: Engine, cluster: Cluster, timeline: Timeline, owner: WorkerOwner) -> None:
        self._engine = engine
        self._cluster = cluster
        self._timeline = timeline
        self._owner = owner
        self._draw = random.Random(SEED)
        self._latencies = cluster.link.latencies(self._draw)
        self._up: dict[int, list[SimulatedWorker]] = {}
        self.lost_at: list[float] = []
        for node in range(cluster.nodes):
            self._start(node)
        if cluster.losses.first_at < math.inf:
            timeline.at(cluster.losses.first_at, self._lose_one)

    def _start(self, node: int) -> None:
        wire = Wire(self._cluster.link.bytes_per_s)
        names = [f"{node}-{number}" for number in range(node, self._engine.workers, self._cluster.nodes)]
        self._up[node] = [self._worker(name, wire) for name in names]
        for worker in self._up[node]:
            self._owner.on_ready(worker)

    def _worker(self, name: str, wire: Wire) -> SimulatedWorker:
        there = Way(self._timeline, self._latencies, Wire(math.inf))  # what a worker is told is small
        back = Way(self._timeline, self._latencies, wire)
        return SimulatedWorker(name, self._engine, self._timeline, self._owner, there, back)

    def _lose_one(self) -> None:
        losses = self._cluster.losses
        self._timeline.after(losses.every_s, self._lose_one)
        if self._up:
            self._lose(self._draw.choice(sorted(self._up)))

    def _lose(self, node: int) -> None:
        losses = self._cluster.losses
        self.lost_at.append(self._timeline.now)
        for worker in self._up.pop(node):
            worker.die()
            self._timeline.after(losses.noticed_after_s, worker.back.send, 0.0, self._owner.on_lost, worker)
        self._timeline.after(losses.noticed_after_s + losses.back_after_s, self._start, node)
