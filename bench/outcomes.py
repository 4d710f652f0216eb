"""What a policy made of a load: the row of a table, and the goals that the rows reach or miss.

Every figure is of the answers that began within the measured period; all but the refused share, of those admitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from bench.listeners import Listener

_HEADS = {
    "load": "load %",
    "first_p50_ms": "p50 ms",
    "first_p95_ms": "p95 ms",
    "first_p99_ms": "p99 ms",
    "onset_p50_ms": "onset ms",
    "gap_free": "gap-free %",
    "gap_s": "gaps s",
    "refused": "refused %",
    "queued": "queued %",
    "unfinished": "cut",
    "audio_per_s": "audio s/s",
    "fairness": "Jain",
}


@dataclass(frozen=True, slots=True)
class Row:
    policy: str
    load: float
    answers: int
    first_p50_ms: float  # from the last character of the first sentence to the first byte
    first_p95_ms: float
    first_p99_ms: float
    onset_p50_ms: float  # to the first sample over -50 dBFS, as it is played
    gap_free: float
    gap_s: float
    refused: float
    queued: float
    unfinished: int  # cut off at the end of the run
    audio_per_s: float  # that reached all clients within the measured period
    fairness: float  # Jain's index of each answer's share of real time

    @classmethod
    def of(cls, policy: str, load: float, listeners: Iterable[Listener], audio_per_s: float) -> Row:
        counted = [listener for listener in listeners if listener.asked.counts]
        admitted = [listener for listener in counted if not listener.was_refused]
        first = [listener.first_audio_s * 1000 for listener in admitted]
        onset = [listener.onset_s * 1000 for listener in admitted if listener.onset_s is not None]
        return cls(
            policy,
            load,
            len(counted),
            first_p50_ms=percentile(first, 50),
            first_p95_ms=percentile(first, 95),
            first_p99_ms=percentile(first, 99),
            onset_p50_ms=percentile(onset, 50),
            gap_free=_share([not listener.playhead.gaps for listener in admitted]),
            gap_s=sum(sum(listener.playhead.gaps) for listener in admitted),
            refused=_share([listener.was_refused for listener in counted]),
            queued=_share([listener.was_queued for listener in admitted]),
            unfinished=sum(not listener.is_done for listener in admitted),
            audio_per_s=audio_per_s,
            fairness=jain([listener.share_of_real_time for listener in admitted]),
        )

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}

    def line(self) -> str:
        cells = [f"{self.policy:<13}", f"{self.load * 100:.0f}", f"{self.answers}"]
        cells += [f"{value:.0f}" for value in (self.first_p50_ms, self.first_p95_ms, self.first_p99_ms)]
        cells += [f"{self.onset_p50_ms:.0f}", f"{self.gap_free * 100:.1f}", f"{self.gap_s:.1f}"]
        cells += [f"{self.refused * 100:.1f}", f"{self.queued * 100:.1f}", f"{self.unfinished}"]
        cells += [f"{self.audio_per_s:.1f}", f"{self.fairness:.3f}"]
        return " | ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, heads(), strict=True))


@dataclass(frozen=True, slots=True)
class Goal:
    what: str
    value: float
    bound: float
    at_least: bool

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def line(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{'yes' if self.is_met else 'NO ':<4}{self.value:>8.3f}  {sign} {self.bound:<6g}{self.what}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "is_met": self.is_met}


def goals(rows: Sequence[Row], alone: dict[str, list[float]]) -> list[Goal]:
    """Those that the loads of this run can tell of. `alone`: first-audio seconds of one listener at a time."""
    at = {(row.policy, row.load): row for row in rows}
    told: list[Goal] = []
    if chunks := at.get(("chunk-EDF", 0.9)):
        ratio = chunks.first_p95_ms / (percentile(alone["chunk-EDF"], 95) * 1000)
        told.append(Goal("chunk-EDF at 90 %: p95 first audio, relative to one listener alone", ratio, 1.5, False))
        told.append(Goal("chunk-EDF at 90 %: gap-free share", chunks.gap_free, 0.99, True))
        fifo, sentences = at["fifo", 0.9], at["sentence-EDF", 0.9]
        ratio = fifo.first_p95_ms / sentences.first_p95_ms
        told.append(Goal("capacity 1 at 90 %: fifo's p95 first audio, relative to sentence-EDF's", ratio, 2.0, True))
    for load in sorted({row.load for row in rows if row.load > 1}):
        chunks, fifo = at["chunk-EDF", load], at["fifo", load]
        told.append(Goal(f"chunk-EDF at {load:.0%}: gap-free share of the admitted", chunks.gap_free, 0.99, True))
        ratio = chunks.audio_per_s / fifo.audio_per_s
        told.append(Goal(f"chunk-EDF at {load:.0%}: throughput, relative to fifo's", ratio, 0.97, True))
    return told


def table(rows: Iterable[Row]) -> str:
    """In Markdown's form."""
    head = [" | ".join(heads()), " | ".join("-" * (len(head) - 1) + ":" for head in heads())]
    return "\n".join(f"| {line} |" for line in [*head, *(row.line() for row in rows)])


def heads() -> list[str]:
    return [f"{_HEADS.get(field.name, field.name):<{13 if field.name == 'policy' else 0}}" for field in fields(Row)]


def percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else 0.0


def jain(shares: Sequence[float]) -> float:
    """1.0 when all have the same, 1/n when one has everything."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0


def _share(facts: Sequence[bool]) -> float:
    return sum(facts) / len(facts) if facts else 0.0


@dataclass(frozen=True, slots=True)
class Scaled:
    """One size of a pool."""

    workers: int
    row: Row
    most_streams: int
    took_s: float
