"""Which fault strikes when: a function of the seed alone, so that a run that failed can be had again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

Kind = Literal[
    "kill -9",
    "SIGSTOP",
    "garbage from a worker",
    "stderr flood",
    "slow client",
    "vanishing client",
    "garbage JSON",
    "garbage frames",
    "flood of connections",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
# Each costs one worker at most. A flood does where a busy machine lets it take longer than a cancelled render may.
DEADLY: frozenset[Kind] = frozenset({"kill -9", "SIGSTOP", "garbage from a worker", "stderr flood"})

# At once, in the first second: what many bad clients need together is memory that a process keeps; it must have it
# before its growth is measured.
REHEARSAL: tuple[Kind, ...] = ("slow client",) * 6 + ("flood of connections",) * 3 + ("garbage JSON",) * 3

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Fault:
    at_s: float  # of the run
    kind: Kind
    luck: float  # in [0, 1): which worker, which garbage

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self.luck * len(items))]


def schedule(seed: int, duration_s: float, every_s: float) -> list[Fault]:
    """A rehearsal; then round by round, each with all kinds in an order of its own: even a short run has them all."""
    dice = random.Random(seed)
    kinds: list[Kind] = []
    while len(kinds) * every_s < duration_s:
        kinds += dice.sample(KINDS, len(KINDS))
    faults = (Fault((number + 1) * every_s, kind, dice.random()) for number, kind in enumerate(kinds))
    rehearsal = [Fault(1.0, kind, dice.random()) for kind in REHEARSAL]
    return rehearsal + [fault for fault in faults if fault.at_s < duration_s]
