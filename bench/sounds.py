"""Audio as samples, for the benches: what the tone backend owes for a text, and how like it a sound is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.tone import tone_pcm
from voice_server.worker.pcm import to_pcm

RATE = 24_000
WAV_HEADER = 44
RAW = ("pcm", "wav")

Samples = NDArray[np.int16]


def owed(sentences: list[str]) -> Samples:
    return np.frombuffer(b"".join(to_pcm(tone_pcm(sentence, "tone")) for sentence in sentences), "<i2")


def decode(data: bytes, codec: str) -> Samples:
    """s16 mono at 24 kHz; nothing where the bytes do not make a sample yet."""
    if codec in RAW:
        body = data[WAV_HEADER:] if codec == "wav" else data
        return np.frombuffer(body[: len(body) // 2 * 2], "<i2")
    return _decode_container(data)


def likeness(got: Samples, expected: Samples) -> float:
    """The correlation of two sounds where they fit best: a codec may shift them by a few milliseconds."""
    size = 1 << (len(got) + len(expected)).bit_length()
    a, b = (np.fft.rfft(sound.astype(np.float64), size) for sound in (got, expected))
    energy = np.linalg.norm(got.astype(np.float64)) * np.linalg.norm(expected.astype(np.float64))
    return float(np.max(np.fft.irfft(a * np.conj(b), size)) / energy)


def _decode_container(data: bytes) -> Samples:
    import av  # noqa: PLC0415 - of the extra `av`

    parts: list[Any] = []
    try:
        with av.open(io.BytesIO(data)) as container:
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
            for frame in container.decode(audio=0):
                parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(frame)]
            parts += [part.to_ndarray().reshape(-1) for part in resampler.resample(None)]
    except (av.error.FFmpegError, IndexError):
        pass  # the end of what has come so far
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)
