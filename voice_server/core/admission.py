"""Can these listeners all be served without a gap? Pure.

Every listener has so much audio ahead (`slack_s`), then needs a second of audio each second until what is left of the
answer (`left_s`) has been said. The workers together give `rate` seconds of audio each second, to whoever needs it
first. That is enough exactly if at no instant more is needed by then than can be given by then (the demand bound of
earliest-deadline-first scheduling, for a fluid that can be divided at will). What is needed grows in straight lines,
steepest before a listener is done: so the instants to look at are those at which a listener is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_TRIES = 10  # halvings: an estimate of a minute to 60 ms
_LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Listener:
    slack_s: float  # until nothing is left to play
    left_s: float  # of audio that has to be made


def carries(listeners: Iterable[Listener], rate: float) -> bool:
    """Whether nobody runs dry at `rate` seconds of audio per second."""
    changes: list[tuple[float, int]] = []
    for listener in listeners:
        changes.append((listener.slack_s, 1))
        changes.append((listener.slack_s + listener.left_s, -1))
    changes.sort()
    needed, slope, before = 0.0, 0, 0.0
    for at, change in changes:
        needed += slope * (at - before)
        if change < 0 and needed > rate * at:
            return False
        slope, before = slope + change, at
    return True


def wait_s(listeners: Sequence[Listener], newcomers_left_s: Sequence[float], rate: float) -> float:
    """In how many seconds these newcomers can all be served beside the listeners; at most a minute."""
    early, late = 0.0, _LONGEST_S
    for _ in range(_TRIES):
        middle = (early + late) / 2
        if carries([*listeners, *(Listener(middle, left_s) for left_s in newcomers_left_s)], rate):
            late = middle
        else:
            early = middle
    return late
