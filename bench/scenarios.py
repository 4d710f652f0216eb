"""Thousands of listeners on the workers of many nodes: what links cost, and what it costs that nodes are lost.

Each scenario is asked the same; they run side by side, in processes of their own. The engine is as fast as it takes for
so many listeners to be the given load: each of them needs a second of audio per second while it listens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from bench.listeners import Asked, Engine, Listener, Period, asked, policies
from bench.nodes import Cluster, Losses
from bench.outcomes import Row, percentile
from bench.simulated import simulate
from bench.timeline import Link
from voice_server.core.limits import WorkerLimits

CHUNK_S = 0.16  # of VoxCPM2
WARM_UP_S = 50.0  # the longest answer lasts 48 s: after that as many listen as ever
DRAIN_S = 5.0  # until the last answers have been rendered
RAY = Link(latency_s=0.00225, spread=0.5, bytes_per_s=125e6)  # bench.cluster on a busy machine; 1 Gbit/s
MOMENT_S = 2.0
OFF_BY_S = 1e-6  # of a whole answer: sums of many chunks

_WIDTH = 37  # of a name
_HEADS = ["p50 ms", "p95 ms", "p99 ms", "gap-free %", "lost nodes", "again", "failed", "wrong", "refused %"]
_HEADS += ["listeners", "CPU s"]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who listens, and to how many workers."""

    nodes: int
    workers: int
    listeners: int  # at once
    load: float
    capacity: int
    tokens_per_s: float
    seconds: float

    @property
    def engine(self) -> Engine:
        engine = Engine(self.workers, rtf=0.0, chunk_s=CHUNK_S)
        return replace(engine, rtf=self.load * self.workers / self.listeners - engine.effective_rtf)

    @property
    def period(self) -> Period:
        return Period(WARM_UP_S, self.seconds, DRAIN_S)

    @property
    def answers(self) -> list[Asked]:
        return asked(self.engine, self.load, self.period, self.tokens_per_s)


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    cluster: Cluster


@dataclass(frozen=True, slots=True)
class Moment:
    """What it was like for those whose first audio was due, or who listened, within a few seconds."""

    at: float  # since the measured period began
    first_p50_ms: float
    first_p95_ms: float
    first_worst_ms: float
    gap_free: float


@dataclass(frozen=True, slots=True)
class Outcome:
    name: str
    row: Row
    listeners: float  # at once
    lost_at: list[float]  # since the measured period began
    again: int
    failed: int
    wrong: int  # answers of which a listener got more or less than all, once
    moments: list[Moment]
    cpu_s: float  # that simulating it took

    def line(self) -> str:
        row = self.row
        cells = [f"{value:.0f}" for value in (row.first_p50_ms, row.first_p95_ms, row.first_p99_ms)]
        cells += [f"{row.gap_free * 100:.2f}", f"{len(self.lost_at)}", f"{self.again}", f"{self.failed}"]
        cells += [f"{self.wrong}", f"{row.refused * 100:.1f}", f"{self.listeners:.0f}", f"{self.cpu_s:.0f}"]
        return _line(self.name, cells)

    def as_json(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in ("listeners", "lost_at", "again", "failed", "wrong", "cpu_s")}
        return {"name": self.name, **self.row.as_json(), **told}


def scenarios(nodes: int, lost_every_s: float) -> list[Scenario]:
    losses = Losses(first_at=WARM_UP_S + lost_every_s / 2, every_s=lost_every_s)
    silent = replace(losses, noticed_after_s=WorkerLimits().chunk_gap_s)
    return [
        Scenario("one machine, nothing is lost", Cluster(nodes)),
        Scenario("links", Cluster(nodes, RAY)),
        Scenario("links, lost nodes", Cluster(nodes, RAY, losses)),
        Scenario(f"links, lost nodes, noticed after {silent.noticed_after_s:.0f} s", Cluster(nodes, RAY, silent)),
    ]


def compare_scenarios(crowd: Crowd, lost_every_s: float) -> Iterator[Outcome]:
    """Each as soon as it and those before it are there: they take minutes."""
    compared = scenarios(crowd.nodes, lost_every_s)
    with ProcessPoolExecutor(min(len(compared), os.cpu_count() or 1)) as processes:
        yield from processes.map(run, [crowd] * len(compared), compared)


def run(crowd: Crowd, scenario: Scenario) -> Outcome:
    began, period, policy = time.process_time(), crowd.period, policies(crowd.capacity)[-1]
    gateway, nodes = simulate(crowd.engine, policy, period, crowd.answers, scenario.cluster)
    measured = [at - period.warm_up_s for at in nodes.lost_at if at < period.ends_at]
    return Outcome(
        scenario.name,
        Row.of(policy.name, crowd.load, gateway.listeners, gateway.audio_s / period.seconds),
        _at_once(gateway.listeners, period),
        measured,
        gateway.again,
        sum(listener.failed for listener in gateway.listeners),
        sum(is_wrong(listener, crowd.engine) for listener in gateway.listeners),
        moments(gateway.listeners, period),
        time.process_time() - began,
    )


def is_wrong(listener: Listener, engine: Engine) -> bool:
    """It was told that this is all, and no sentence of it has failed, but it is less than all, or more."""
    whole_s = sum(listener.asked.chars) * engine.seconds_per_char
    return listener.is_done and not listener.failed and abs(listener.playhead.received_s - whole_s) > OFF_BY_S


def moments(listeners: Sequence[Listener], period: Period) -> list[Moment]:
    edges = np.arange(period.warm_up_s, period.ends_at + MOMENT_S / 2, MOMENT_S)
    admitted = [listener for listener in listeners if not listener.was_refused]
    began = np.array([listener.asked.said_at(0) for listener in admitted])
    first_ms = np.array([listener.first_audio_s for listener in admitted]) * 1000
    over = np.array([listener.playhead.runs_out_at for listener in admitted])
    gaps_at = np.array([at for listener in admitted for at in listener.gaps_at])
    found: list[Moment] = []
    for begin, end in pairwise(edges):
        due = first_ms[(began >= begin) & (began < end)].tolist()
        listening = max(1, int(np.sum((began < end) & (over >= begin))))
        gaps = int(np.sum((gaps_at >= begin) & (gaps_at < end)))
        at = float(begin) - period.warm_up_s + MOMENT_S / 2
        median, p95, worst = (percentile(due, percent) for percent in (50, 95, 100))
        found.append(Moment(at, median, p95, worst, 1 - gaps / listening))
    return found


def _at_once(listeners: Iterable[Listener], period: Period) -> float:
    """Who waits for the first audio listens already."""
    together_s = 0.0
    for one in listeners:
        began, over = max(one.asked.said_at(0), period.warm_up_s), min(one.playhead.runs_out_at, period.ends_at)
        together_s += max(0.0, over - began)
    return together_s / period.seconds


def table_head() -> str:
    """In Markdown's form, as the lines."""
    rule = _line("-" * _WIDTH, ["-" * (len(head) - 1) + ":" for head in _HEADS])
    return f"{_line('', _HEADS)}\n{rule}"


def _line(name: str, cells: Sequence[str]) -> str:
    padded = [f"{cell:>{len(head)}}" for cell, head in zip(cells, _HEADS, strict=True)]
    return f"| {name:<{_WIDTH}} | {' | '.join(padded)} |"
