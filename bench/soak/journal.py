"""What happened in a run, as it is written down while it goes on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.soak.answers import Answer


class Sample(NamedTuple):
    """One look at the gateway's process."""

    at_s: float
    rss_mib: float
    fds: int
    threads: int


@dataclass(slots=True)
class Journal:
    answers: list[Answer] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)  # faults, by kind
    missed: Counter[str] = field(default_factory=Counter)  # that found nothing to strike: all workers were gone
    complaints: list[str] = field(default_factory=list)  # of those who attacked, or watched
    samples: list[Sample] = field(default_factory=list)

    def complain(self, who: str, what: str) -> None:
        self.complaints.append(f"{who}: {what}")
