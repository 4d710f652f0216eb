"""Arithmetic on PCM: signed 16-bit little-endian, mono, the only format inside the gateway.

Workers deliver it, so the gateway converts only when a client asked for another sample rate.
"""

from __future__ import annotations

import struct

import numpy as np
import soxr

from voice_server.core.limits import SilenceLimits

SAMPLE_BYTES = 2
_LOWEST, _HIGHEST = -(2**15), 2**15 - 1
AUDIBLE = int(-_LOWEST * 10 ** (SilenceLimits().audible_dbfs / 20))  # a sample beyond it, up or down, can be heard
# In a WAV header that is written before its data: what api.openai.com sends, players accept it.
UNKNOWN_LENGTH = 0xFFFFFFFF


def duration_s(pcm_bytes: int, sample_rate: int) -> float:
    return pcm_bytes / (SAMPLE_BYTES * sample_rate)


def byte_count(seconds: float, sample_rate: int) -> int:
    """Bytes of `seconds` of audio, in whole samples."""
    return int(seconds * sample_rate) * SAMPLE_BYTES


def fade_in(pcm: bytes, sample_rate: int, seconds: float) -> bytes:
    """The same audio with a linear rise over its first `seconds`, so that a seam does not click."""
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    length = min(len(samples), int(seconds * sample_rate))
    samples[:length] *= np.linspace(0.0, 1.0, length, endpoint=False, dtype=np.float32)
    return samples.astype("<i2").tobytes()


def audible_span(pcm: bytes) -> tuple[int, int]:
    """Where in `pcm` the audible samples lie, in bytes: from the first one up to behind the last; (0, 0): none is."""
    samples = np.frombuffer(pcm, dtype="<i2")
    places = np.flatnonzero((samples > AUDIBLE) | (samples < -AUDIBLE))
    return (int(places[0]) * SAMPLE_BYTES, int(places[-1] + 1) * SAMPLE_BYTES) if len(places) else (0, 0)


def ends_audibly(pcm: bytes) -> bool:
    """Whether the last sample can be heard: what `audible_span` would tell, at a tenth of its price."""
    return bool(pcm) and abs(int.from_bytes(pcm[-SAMPLE_BYTES:], "little", signed=True)) > AUDIBLE


def clipped_samples(pcm: bytes) -> int:
    """How many samples are at full scale, up or down."""
    samples = np.frombuffer(pcm, dtype="<i2")
    if not len(samples) or (samples.max() < _HIGHEST and samples.min() > -_HIGHEST):
        return 0
    return int(np.count_nonzero((samples == _HIGHEST) | (samples <= -_HIGHEST)))


def wav_header(sample_rate: int, data_bytes: int | None) -> bytes:
    """The 44 bytes before PCM s16le mono data; `None` where the length is not known yet (RIFF, WAVE_FORMAT_PCM)."""
    data = UNKNOWN_LENGTH if data_bytes is None else data_bytes
    riff = UNKNOWN_LENGTH if data_bytes is None else data_bytes + 36
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, sample_rate * SAMPLE_BYTES, SAMPLE_BYTES, 16)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + fmt + struct.pack("<4sI", b"data", data)


class Resampler:
    """One sentence from the worker's rate to the client's, chunk by chunk; streamed equals one-shot bit for bit.

    soxr's HQ filter holds back about 37 ms of audio until `flush`. It runs in float32 because soxr dithers its int16
    output, and the dither depends on where the chunks were cut (measured, soxr 1.1.0).
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")

    def push(self, pcm: bytes) -> bytes:
        return self._convert(pcm, last=False)

    def flush(self) -> bytes:
        return self._convert(b"", last=True)

    def _convert(self, pcm: bytes, *, last: bool) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
        converted = np.rint(self._stream.resample_chunk(samples, last=last))
        return bytes(converted.clip(_LOWEST, _HIGHEST).astype("<i2").tobytes())
