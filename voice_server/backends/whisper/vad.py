"""Silero's voice detector, which ships inside faster-whisper, told its audio bit by bit.

faster-whisper runs it over whole files only. It is a small recurrent network: with its state kept between two calls,
each frame costs about 0.1 ms once, whatever came before it.
"""

from __future__ import annotations

from typing import Any, List

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.whisper.segments import FRAME

_CONTEXT = 64  # samples of the frame before that each frame is seen with
_STATE = (1, 1, 128)


class VoiceDetector:
    """One hearing's; `session` is shared by all."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._context = np.zeros((1, _CONTEXT), dtype=np.float32)
        self._h = np.zeros(_STATE, dtype=np.float32)
        self._c = np.zeros(_STATE, dtype=np.float32)

    def likelihoods(self, samples: NDArray[np.float32]) -> List[float]:
        """Of speech in each frame; `samples` are whole frames."""
        batch = samples.reshape(-1, FRAME)
        tails = batch[:, -_CONTEXT:]
        before = np.concatenate([self._context, tails[:-1]])
        seen = np.concatenate([before, batch], axis=1)
        told, self._h, self._c = self._session.run(None, {"input": seen, "h": self._h, "c": self._c})
        self._context = tails[-1:]
        return [float(value) for value in np.ravel(told)]
