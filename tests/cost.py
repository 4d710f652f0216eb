"""How the CPU time of two pieces of work compares, on a machine that does other work, too."""

from __future__ import annotations

import time
from collections.abc import Callable

_ROUNDS = 25


def costs_less(work: Callable[[], object], times: float, than: Callable[[], object]) -> bool:
    """Whether `work` takes less CPU time than `times` that of `than`.

    Of each the least of several rounds counts, taken in turns: noise only ever adds, so more rounds come nearer to the
    truth. A difference of order (a square for a line) stays whatever the number of rounds.
    """
    least, other = cpu_s(work), cpu_s(than)
    for _ in range(_ROUNDS):
        if least < times * other:
            return True
        least, other = min(least, cpu_s(work)), min(other, cpu_s(than))
    return False


def cpu_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s
