"""Where speech has ended though the engine goes on. Pure.

The stop decision of the model fails now and then, most often after very short texts: what follows is silence, or
babble. A stream cannot take audio back and render again, so its sentence is ended there.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SILENT = 0.003  # RMS, -50 dB of full scale ...
_SILENT_OF_LOUDEST = 0.02  # ... or this part of the loudest chunk: noise that a cloned voice brought along
_TAIL_S = 1.5  # a pause inside one sentence is shorter
_LEAD_S = 4.0  # a breath, a room; beyond it nobody is going to speak
_SPOKEN_S_PER_TOKEN = 0.5  # a slow speaker takes 0.5 s for a word of 1.3 tokens
_SPOKEN_S = 4.0  # a short word, drawn out, with laughter


class Ending(Enum):
    SILENCE = "silence"  # the sentence is complete
    BABBLE = "babble"  # more was said than the text has


def spoken_limit_s(tokens: int) -> float:
    """Seconds of sound, pauses not counted, that a text of so many tokens can honestly take."""
    return _SPOKEN_S + _SPOKEN_S_PER_TOKEN * tokens


class EndWatch:
    """Hears a render chunk by chunk. `at_least_s`: what was asked for, and is not to be cut."""

    def __init__(self, sample_rate: int, spoken_limit_s: float, at_least_s: float = 0.0) -> None:
        self._sample_rate = sample_rate
        self._spoken_limit_s = spoken_limit_s
        self._at_least_s = at_least_s
        self._loudest = self._heard_s = self._spoken_s = self._silent_s = 0.0

    def hear(self, chunk: NDArray[np.float32]) -> Ending | None:
        """Whether the sentence ends with this chunk, float32 of shape (n,)."""
        seconds = len(chunk) / self._sample_rate
        level = math.sqrt(float(np.mean(np.square(chunk, dtype=np.float64)))) if len(chunk) else 0.0
        self._loudest = max(self._loudest, level)
        self._heard_s += seconds
        if level < max(_SILENT, _SILENT_OF_LOUDEST * self._loudest):
            self._silent_s += seconds
        else:
            self._silent_s = 0.0
            self._spoken_s += seconds
        return self._verdict() if self._heard_s >= self._at_least_s else None

    def _verdict(self) -> Ending | None:
        if self._silent_s >= (_TAIL_S if self._spoken_s else _LEAD_S):
            return Ending.SILENCE
        return Ending.BABBLE if self._spoken_s >= self._spoken_limit_s else None
