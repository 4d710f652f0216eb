"""A recording of any length as bare PCM s16le, mono: decoded, mixed and resampled piece by piece.

Promises: no more than a piece is in memory; what is whole of a damaged file is decoded; the end of a recording that
lasts longer than it may is told by the exit code, whatever its header said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

DAMAGED, TOO_LONG = 3, 4  # exit codes
_PIECE_S = 1.0


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Read from front to back only. Otherwise soundfile seeks behind what it has read, which fails at the end of a FLAC
    whose head does not say how long it is: one that was streamed, as ours are."""

    def seekable(self) -> bool:
        return False


def decode_to(source: BinaryIO, target: BinaryIO, rate: int, longest_s: float) -> int:
    """The exit code."""
    try:
        with _Forward(source) as sound:
            return _decode(sound, target, rate, longest_s)
    except (soundfile.LibsndfileError, RuntimeError):
        return DAMAGED


def _decode(sound: soundfile.SoundFile, target: BinaryIO, rate: int, longest_s: float) -> int:
    resampler, total = soxr.ResampleStream(sound.samplerate, rate, 1, dtype="float32"), 0
    for block in _blocks(sound):
        total += len(block)
        if total > longest_s * sound.samplerate:
            return TOO_LONG
        target.write(_to_pcm(resampler.resample_chunk(_to_mono(block))))
    target.write(_to_pcm(resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)))
    target.flush()
    return 0 if total else DAMAGED


def _blocks(sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    while True:
        try:
            block = sound.read(int(sound.samplerate * _PIECE_S), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:  # here it is damaged: what came before is sound
            return
        if not len(block):
            return
        yield block


def _to_mono(block: np.ndarray) -> np.ndarray:
    """Without what is no number, which would spoil all that the resampler makes of its neighbours."""
    with np.errstate(over="ignore", invalid="ignore"):
        mono: np.ndarray = np.nan_to_num(block.mean(axis=1), posinf=0.0, neginf=0.0)
    return mono.clip(-1.0, 1.0)


def _to_pcm(samples: np.ndarray) -> bytes:
    return bytes(np.rint(samples.clip(-1.0, 1.0) * 32767).astype("<i2").tobytes())
