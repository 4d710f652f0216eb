"""Where utterances begin and end, from how likely each frame of 32 ms is speech. Pure; positions are counted in frames.

An utterance is speech between two pauses. A pause must last a while: people stop within a sentence, too. What is
audible for less than a tenth of a second is a click.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
FRAME = 512  # samples, as silero wants them
_FRAMES_PER_S = RATE / FRAME


def frames(seconds: float) -> int:
    return round(seconds * _FRAMES_PER_S)


_BEGINS = 0.5  # likelihood of speech that opens an utterance ...
_GOES_ON = 0.35  # ... and that keeps it open: soft endings belong to it
_PAUSE = frames(0.5)
_LEAST = frames(0.1)
_BEFORE = frames(0.3)  # kept before the first frame of speech: a soft consonant is noticed late
_AFTER = frames(0.2)
LONGEST = frames(25.0)  # the engine reads 30 s at most, and needs some silence behind the last word
CUT_WITHIN = frames(10.0)  # of the end of an utterance that is too long


@dataclass(frozen=True)
class Utterance:
    begin: int
    end: int


class Segmenter:
    def __init__(self) -> None:
        self.now = 0  # frames so far
        self._begin: Optional[int] = None
        self._voiced = 0  # frames of the open utterance
        self._last_voiced = 0  # behind the last of them
        self._floor = 0  # before it all is settled

    @property
    def open(self) -> Optional[Utterance]:
        """What is being said, as far as it was heard. A click is none."""
        if self._begin is None or self._voiced < _LEAST:
            return None
        return Utterance(self._begin, self.now)

    @property
    def settled(self) -> int:
        """No utterance that is open or comes later begins before it."""
        return self._begin if self._begin is not None else max(self._floor, self.now - _BEFORE)

    def push(self, likelihood: float) -> Optional[Utterance]:
        """One more frame; the utterance that it ended, if it was more than a click."""
        self.now += 1
        if likelihood >= (_BEGINS if self._begin is None else _GOES_ON):
            if self._begin is None:
                self._begin = max(self._floor, self.now - 1 - _BEFORE)
            self._voiced += 1
            self._last_voiced = self.now
        if self._begin is not None and self.now - self._last_voiced >= _PAUSE:
            return self.end()
        return None

    def end(self) -> Optional[Utterance]:
        """The open utterance is over."""
        opened = self.open
        end = min(self.now, self._last_voiced + _AFTER)
        if self._begin is not None:
            self._floor = max(self._begin, end)
            self._begin, self._voiced = None, 0
        return Utterance(opened.begin, end) if opened else None

    def cut(self, at: int) -> Optional[Utterance]:
        """The open utterance is over at `at`, and the next one has begun there."""
        opened = self.open
        if opened is None:
            return None
        self._begin = self._floor = at
        self._voiced = max(0, self._last_voiced - at)  # silence that follows a cut is no utterance
        return Utterance(opened.begin, at)


def quietest(samples: NDArray[np.float32], low: int, high: int) -> int:
    """The middle of the quietest 50 ms between two positions, counted in samples."""
    width = RATE // 20
    low, high = max(0, low), min(len(samples), high)
    if high - low <= width:
        return (low + high) // 2
    power = np.cumsum(np.concatenate([[0.0], samples[low:high].astype(np.float64) ** 2]))
    return low + int(np.argmin(power[width:] - power[:-width])) + width // 2
