"""PCM s16le, the format inside the gateway, as the raw formats that voice and telephone clients ask for.

Promises: sample for sample, so that chunks can be cut anywhere between two samples.
"""

from __future__ import annotations

import io
import struct
from functools import cache
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

RawFormat = Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw"]

_SAMPLE_BYTES: dict[RawFormat, int] = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}
_WAV_TAGS: dict[RawFormat, int] = {"pcm_s16le": 1, "pcm_f32le": 3, "alaw": 6, "mulaw": 7}
_UNKNOWN = 0xFFFFFFFF  # in a WAV header that goes out before its data


def to_raw(pcm: bytes, kind: RawFormat) -> bytes:
    """`pcm` (s16le) in another raw format."""
    if kind == "pcm_s16le":
        return pcm
    if kind == "pcm_f32le":
        floats = np.frombuffer(pcm, dtype="<i2") / np.float32(2**15)
        return bytes(floats.astype("<f4").tobytes())
    return bytes(_codes(kind)[np.frombuffer(pcm, dtype="<u2")].tobytes())


def raw_wav_header(sample_rate: int, kind: RawFormat) -> bytes:
    """The head of a WAV stream, mono, whose length nobody knows yet."""
    size = _SAMPLE_BYTES[kind]
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, _WAV_TAGS[kind], 1, sample_rate, sample_rate * size, size, size * 8)
    return struct.pack("<4sI4s", b"RIFF", _UNKNOWN, b"WAVE") + fmt + struct.pack("<4sI", b"data", _UNKNOWN)


@cache
def _codes(kind: RawFormat) -> NDArray[np.uint8]:
    """The code of G.711 for every sample, by its bits."""
    subtype = {"mulaw": "ULAW", "alaw": "ALAW"}[kind]
    encoded = io.BytesIO()
    every_sample = np.arange(2**16, dtype=np.uint16).view(np.int16)
    soundfile.write(encoded, every_sample, 8000, format="RAW", subtype=subtype)
    return np.frombuffer(encoded.getvalue(), dtype=np.uint8)
