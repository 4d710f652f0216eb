"""Recordings to make voices of: sounds whose pitch the tone backend imitates, and some that cannot be a voice."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import soundfile

RATE = 48_000


def spoken(seconds: float = 6.0, pitch_hz: float = 180.0, level: float = 0.3) -> npt.NDArray[np.float32]:
    """A hum in syllables, as far as a level meter can tell."""
    times = np.arange(int(seconds * RATE)) / RATE
    syllables = np.sin(2 * np.pi * times) ** 2 * 0.9 + 0.1
    return (level * syllables * np.sin(2 * np.pi * pitch_hz * times)).astype(np.float32)


def wav(samples: npt.NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
