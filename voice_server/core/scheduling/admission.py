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

import numpy as np
from numpy.typing import NDArray

RECOVER_S = 5.0  # about a sentence
_TRIES = 10  # halvings: an estimate of a minute to 60 ms
_LONGEST_S = 60.0
_NOISE = 1e-9

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Listener:
    slack_s: float  # until nothing is left to play
    left_s: float  # of audio that has to be made


class Demand:
    """What listeners need, as seconds of audio per second over time. One more costs a pass over all of them."""

    def __init__(self, listeners: Iterable[Listener], spare_s: float = 0.0) -> None:
        self._spare_s = spare_s
        self._at = self._by = np.zeros(0)  # instants, and by how much the need changes there
        self._at, self._by = self._with(listeners)

    def __len__(self) -> int:
        return len(self._at)

    def is_carried(self, rate: float) -> bool:
        """Whether nobody runs dry at `rate` seconds of audio per second."""
        return _is_carried(self._at, self._by, rate)

    def take(self, listener: Listener, rate: float) -> bool:
        """Whether one more is carried, too; then it belongs to them. Who is alone always is."""
        at, by = self._with([listener])
        if len(self) and not _is_carried(at, by, rate):
            return False
        self._at, self._by = at, by
        return True

    def rate(self, newcomers: Iterable[Listener]) -> float:
        """Seconds of audio per second at which just nobody runs dry, were these let in, too."""
        at, by = self._with(newcomers)
        ends = (by < 0) & (at > 0)
        return float(np.max(_needed(at, by)[ends] / at[ends], initial=0.0))

    def wait_s(self, newcomers_left_s: Sequence[float], rate: float) -> float:
        """In how many seconds so many more could all be served beside these; at most a minute."""
        early, late = 0.0, _LONGEST_S
        for _ in range(_TRIES):
            middle = (early + late) / 2
            if _is_carried(*self._with(Listener(middle, left_s) for left_s in newcomers_left_s), rate):
                late = middle
            else:
                early = middle
        return late

    def _with(self, listeners: Iterable[Listener]) -> tuple[_Floats, _Floats]:
        more = np.array([change for one in listeners for change in _needs(one, self._spare_s)], np.float64)
        at = np.concatenate([self._at, more.reshape(-1, 2)[:, 0]])
        by = np.concatenate([self._by, more.reshape(-1, 2)[:, 1]])
        order = np.argsort(at, kind="stable")
        return at[order], by[order]


def _is_carried(at: _Floats, by: _Floats, rate: float) -> bool:
    return not bool(np.any((_needed(at, by) > rate * at + _NOISE) & (by < 0)))


def _needed(at: _Floats, by: _Floats) -> _Floats:
    """Seconds of audio, by each of these instants."""
    needed = np.zeros(len(at))
    needed[1:] = np.cumsum(np.cumsum(by)[:-1] * np.diff(at))
    return needed


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
