"""PCM s16le, the format inside the gateway, as the float32 arrays in [-1, 1] that Python programs use, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voice_server.core.errors import UnknownFormat

Audio = NDArray[np.float32]
_STEPS = 2**15  # of a 16-bit sample, up or down


def from_pcm(pcm: bytes) -> Audio:
    """Of shape (n,)."""
    audio: Audio = np.frombuffer(pcm, dtype="<i2") / np.float32(_STEPS)
    return audio


def to_pcm(audio: NDArray[Any]) -> bytes:
    """Of float or int16 samples of shape (n,) or (n, channels), which are mixed to mono. Raises UnknownFormat.

    What was `from_pcm` comes back bit by bit; what is no number is silence.
    """
    samples = np.asarray(audio)
    if samples.dtype != np.int16 and samples.dtype.kind != "f":
        raise UnknownFormat(f"audio is an array of floats or of int16, not of {samples.dtype}", field="audio")
    if samples.ndim not in (1, 2):
        raise UnknownFormat(f"audio has the shape (n,) or (n, channels), not {samples.shape}", field="audio")
    steps = samples.astype(np.float32) * (1 if samples.dtype == np.int16 else _STEPS)
    mono = np.nan_to_num(steps.mean(axis=1) if samples.ndim == 2 else steps, nan=0.0, posinf=0.0, neginf=0.0)
    return bytes(np.rint(mono).clip(-_STEPS, _STEPS - 1).astype("<i2").tobytes())
