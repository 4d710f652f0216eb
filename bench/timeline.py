"""What happens next in simulated time, and what is on its way between two machines.

A link takes time for each message, and for each byte; what one worker says arrives in the order in which it was said,
as on a socket. Workers of one node share what it can send.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, repeat
from typing import Any

HOP_S = 0.0007  # a message's way from one process to the next: measured by bench.first_audio
_DRAWN = 10_007  # latencies, used in turn: drawing one for each of 30 million messages would take longer than they do

Action = Callable[..., None]


class Timeline:
    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._events = 0

    def at(self, when: float, action: Action, *arguments: Any) -> None:
        self._events += 1
        heapq.heappush(self._heap, (when, self._events, action, arguments))

    def after(self, delay_s: float, action: Action, *arguments: Any) -> None:
        self.at(self.now + delay_s, action, *arguments)

    def run(self, until: float) -> None:
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] < until:
            self.now, _, action, arguments = pop(heap)
            action(*arguments)
        self.now = until


@dataclass(frozen=True, slots=True)
class Link:
    """What a network takes beyond a hop within one machine. Latencies are log-normal, as waits in queues are."""

    latency_s: float = 0.0  # one way; half of all messages take less
    spread: float = 0.0  # standard deviation of the latency's logarithm: at 0.5 one of 20 takes 2.3 times as long
    bytes_per_s: float = math.inf  # that a node can send

    def latencies(self, draw: random.Random) -> Iterator[float]:
        if not self.latency_s:
            return repeat(HOP_S)
        median = math.log(self.latency_s)
        return cycle([HOP_S + draw.lognormvariate(median, self.spread) for _ in range(_DRAWN)])


class Wire:
    """What a node sends goes through it one byte after the other."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def sent_at(self, size: float, now: float) -> float:
        self._free_at = max(self._free_at, now) + size / self._bytes_per_s
        return self._free_at


class Way:
    """From one worker to the gateway, or back."""

    def __init__(self, timeline: Timeline, latencies: Iterator[float], wire: Wire) -> None:
        self._timeline = timeline
        self._latencies = latencies
        self._wire = wire
        self._latest = 0.0

    def send(self, size: float, action: Action, *arguments: Any) -> None:
        """`size` in bytes; what is small beside audio has none."""
        sent_at = self._wire.sent_at(size, self._timeline.now) if size else self._timeline.now
        self._latest = max(self._latest, sent_at + next(self._latencies))
        self._timeline.at(self._latest, action, *arguments)
