"""From an engine's float arrays to PCM s16le on the wire. Needs numpy, which every backend's environment holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator

import numpy as np

from voice_server.wire.messages import AUDIO_FRAME_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FULL_SCALE = 32767.0
_SAMPLE_BYTES = 2
_FRAME_PCM_BYTES = AUDIO_FRAME_BYTES // 10 * 9 // 2 * 2  # whole samples, and room for the rest of the message


def to_pcm(chunk: object) -> bytes:
    """PCM s16le of a mono float32 or float64 array of shape (n,) or (1, n) in [-1, 1].

    NaN and infinity become silence: a cast would turn them into full-scale clicks. Raises TypeError for anything else,
    integers included, since their scale is anybody's guess.
    """
    if not isinstance(chunk, np.ndarray):
        raise TypeError(f"a chunk is a numpy array, not {type(chunk).__name__}")
    if chunk.dtype not in (np.float32, np.float64):
        raise TypeError(f"a chunk holds float32 or float64, not {chunk.dtype}")
    if chunk.ndim not in (1, 2) or (chunk.ndim == 2 and chunk.shape[0] != 1):
        raise TypeError(f"a chunk is mono, of shape (n,) or (1, n), not {chunk.shape}")
    samples = np.nan_to_num(chunk.reshape(-1), nan=0.0, posinf=0.0, neginf=0.0)
    pcm: bytes = np.rint(np.clip(samples, -1.0, 1.0) * _FULL_SCALE).astype("<i2").tobytes()
    return pcm


def spoiled_samples(chunk: NDArray[np.floating[Any]]) -> int:
    """How many samples of a chunk are no numbers."""
    return int(chunk.size - np.count_nonzero(np.isfinite(chunk)))


def duration_s(pcm: bytes, sample_rate: int) -> float:
    return len(pcm) / (_SAMPLE_BYTES * sample_rate)


def pieces(pcm: bytes, limit: int = _FRAME_PCM_BYTES) -> Iterator[bytes]:
    """`pcm` cut so that each piece fits into one frame; nothing for nothing."""
    for begin in range(0, len(pcm), limit):
        yield pcm[begin : begin + limit]
