"""Can these listeners all be served without a gap? Pure.

Every listener has so much audio ahead (`slack_s`), then needs a second of audio each second until what is left of the
answer (`left_s`) has been said. The workers together give `rate` seconds of audio each second, to whoever needs it
first. That is enough exactly if at no instant more is needed by then than can be given by then (the demand bound of
earliest-deadline-first scheduling, for a fluid that can be divided at will). Real audio comes in chunks and sentences,
so every listener is to get `spare_s` ahead of that within `RECOVER_S`: without it, as many listeners as the workers can
just carry would live from hand to mouth for ever.

What is needed grows in straight lines that get less steep when a listener is done, and when the spare is built up: so
those are the instants to look at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

RECOVER_S = 5.0  # about a sentence
_TRIES = 10  # halvings: an estimate of a minute to 60 ms
_LONGEST_S = 60.0
_NOISE = 1e-9


@dataclass(frozen=True, slots=True)
class Listener:
    slack_s: float  # until nothing is left to play
    left_s: float  # of audio that has to be made


def carries(listeners: Iterable[Listener], rate: float, spare_s: float = 0.0) -> bool:
    """Whether nobody runs dry at `rate` seconds of audio per second."""
    changes = sorted(change for listener in listeners for change in _needs(listener, spare_s))
    needed, slope, before = 0.0, 0.0, 0.0
    for at, change in changes:
        needed += slope * (at - before)
        if change < 0 and needed > rate * at + _NOISE:
            return False
        slope, before = slope + change, at
    return True


def wait_s(listeners: Sequence[Listener], newcomers_left_s: Sequence[float], rate: float, spare_s: float) -> float:
    """In how many seconds these newcomers can all be served beside the listeners; at most a minute."""
    early, late = 0.0, _LONGEST_S
    for _ in range(_TRIES):
        middle = (early + late) / 2
        newcomers = [Listener(middle, left_s) for left_s in newcomers_left_s]
        if carries([*listeners, *newcomers], rate, spare_s):
            late = middle
        else:
            early = middle
    return late


def _needs(listener: Listener, spare_s: float) -> Iterator[tuple[float, float]]:
    """At which instants a listener begins to need more, or less, audio per second, and by how much."""
    steep = 1.0 + spare_s / RECOVER_S  # while the spare is built up
    by_then_s = RECOVER_S + spare_s - listener.slack_s  # needed until it is
    if by_then_s <= 0:
        yield listener.slack_s - spare_s, 1.0
        yield listener.slack_s - spare_s + listener.left_s, -1.0
        return
    begin = listener.slack_s / steep
    yield begin, steep
    if by_then_s >= listener.left_s:
        yield begin + listener.left_s / steep, -steep
    else:
        yield RECOVER_S, 1.0 - steep
        yield RECOVER_S + listener.left_s - by_then_s, -1.0
