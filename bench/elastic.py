"""`python -m bench.elastic`: what a number of workers that follows the load saves, and what it costs who listens.

Simulated time, the very scheduler and the very policy of the gateway (core/scheduling/, core/scaling.py), and workers
that take a while to load. The load is quiet, then near what all workers can make from one second to the next, then
quiet again: the worst that a load can do to whoever has to load workers for it.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace

from bench.listeners import Asked, Engine, Period, Policy, asked
from bench.nodes import SimulatedWorker
from bench.outcomes import Row
from bench.simulated import SimulatedGateway
from bench.timeline import HOP_S, Timeline, Way, Wire
from voice_server.core.limits import ScalingLimits
from voice_server.core.scaling import Crew, Scaling
from voice_server.core.settings import Bounds

CHUNK_EDF = Policy("chunk-EDF", "deadline", 8)
QUIET, BUSY = 0.1, 0.8  # of what all workers can make
PHASES = ((600.0, QUIET), (1200.0, BUSY), (1800.0, QUIET))
TOKENS_PER_S = 60.0


class Pool:
    """As pool/pool.py and pool/scaler.py do it, for the workers of a gateway."""

    def __init__(
        self, engine: Engine, bounds: Bounds, load_s: float, gateway: SimulatedGateway, line: Timeline
    ) -> None:
        self._engine = engine
        self._load_s = load_s
        self._gateway = gateway
        self._line = line
        self._scaling = Scaling(bounds, ScalingLimits())
        self._ready: list[SimulatedWorker] = []
        self._slots = self._started = 0
        self.ups = self.downs = 0
        self.worker_s = 0.0  # of all workers, loading ones too
        self._grow(bounds.min, 0.0)
        line.at(0.0, self._look)

    def _look(self) -> None:
        every_s = ScalingLimits().look_s
        self._line.after(every_s, self._look)
        self.worker_s += self._slots * every_s
        load, crew = self._gateway.scheduler.load(self._line.now), Crew(self._slots, len(self._ready))
        self._scaling.see(load, crew, self._line.now)
        if decision := self._scaling.decide(load, crew, self._line.now):
            more = decision.after - decision.before
            self.ups, self.downs = self.ups + (more > 0), self.downs + (more < 0)
            self._grow(more, self._load_s)
            self._shrink(-more)

    def _grow(self, number: int, load_s: float) -> None:
        for _ in range(number):
            self._started += 1
            self._slots += 1
            self._line.after(load_s, self._come, str(self._started))

    def _come(self, name: str) -> None:
        there, back = (Way(self._line, iter(lambda: HOP_S, None), Wire(math.inf)) for _ in range(2))
        worker = SimulatedWorker(name, self._engine, self._line, self._gateway, there, back)
        self._ready.append(worker)
        self._gateway.on_ready(worker)

    def _shrink(self, number: int) -> None:
        open_by = {worker.name: worker.open for worker in self._gateway.scheduler.snapshot(self._line.now).workers}
        idle = [worker for worker in self._ready if not open_by[worker.name]]
        for worker in idle[: max(0, number)]:
            self._ready.remove(worker)
            self._slots -= 1
            self._gateway.on_lost(worker)


@dataclass(frozen=True, slots=True)
class Outcome:
    workers: str
    load_s: float
    worker_hours: float
    ups: int
    downs: int
    queued: float
    refused: float
    first_p50_ms: float
    first_p95_ms: float
    gap_free: float

    def line(self) -> str:
        cells = [self.workers, f"{self.load_s:g}", f"{self.worker_hours:.2f}", f"{self.ups}", f"{self.downs}"]
        cells += [f"{self.queued:.1%}", f"{self.refused:.1%}", f"{self.first_p50_ms:.0f}", f"{self.first_p95_ms:.0f}"]
        return "| " + " | ".join([*cells, f"{self.gap_free:.1%}"]) + " |"


def answers(engine: Engine) -> Iterator[Asked]:
    begin, number = 0.0, 0
    for seconds, load in PHASES:
        for answer in asked(engine, load, Period(0.0, seconds, 0.0), TOKENS_PER_S):
            yield replace(answer, number=number, at=answer.at + begin)
            number += 1
        begin += seconds


def run(engine: Engine, bounds: Bounds, load_s: float) -> Outcome:
    line, total_s = Timeline(), sum(seconds for seconds, _ in PHASES)
    period = Period(0.0, total_s, 0.0)
    gateway = SimulatedGateway(engine, CHUNK_EDF, period, line)
    pool = Pool(engine, bounds, load_s, gateway, line)
    for answer in answers(engine):
        line.at(answer.at, gateway.come, answer)
    line.run(until=total_s)
    for listener in gateway.listeners:
        listener.stop(total_s)
    row = Row.of(CHUNK_EDF.name, 0.0, gateway.listeners, gateway.audio_s / total_s)
    number = f"{bounds.min}" if bounds.min == bounds.max else f"{bounds.min} to {bounds.max}"
    return Outcome(
        number,
        load_s,
        pool.worker_s / 3600,
        pool.ups,
        pool.downs,
        row.queued,
        row.refused,
        row.first_p50_ms,
        row.first_p95_ms,
        row.gap_free,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.elastic", description=__doc__)
    parser.add_argument("--workers", type=int, default=8, help="at most, and of the fixed pool (default: 8)")
    parser.add_argument("--loads", type=float, nargs="+", default=[5.0, 20.0, 60.0], help="seconds that loading takes")
    given = parser.parse_args()
    engine = Engine(workers=given.workers)
    runs = [(Bounds(given.workers, given.workers), 0.0)]
    runs += [(Bounds(least, given.workers), load_s) for least in (1, 4) for load_s in given.loads]
    outcomes = []
    print("| " + " | ".join(field.name.replace("_", " ") for field in fields(Outcome)) + " |", flush=True)
    for bounds, load_s in runs:
        outcomes.append(run(engine, bounds, load_s))
        print(outcomes[-1].line(), flush=True)
    print(json.dumps([asdict(outcome) for outcome in outcomes]))


if __name__ == "__main__":
    main()
