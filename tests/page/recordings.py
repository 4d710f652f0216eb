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


def beeps(*parts: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Each part is a pitch in Hz, 0 for silence, and how many seconds it lasts."""
    return np.concatenate([_beep(pitch_hz, seconds) for pitch_hz, seconds in parts])


def _beep(pitch_hz: float, seconds: float) -> npt.NDArray[np.float32]:
    times = np.arange(int(seconds * RATE)) / RATE
    edges = np.minimum(1.0, np.minimum(times, seconds - times) * 50)
    return (0.3 * edges * np.sin(2 * np.pi * pitch_hz * times)).astype(np.float32)
