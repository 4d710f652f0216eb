"""core/audio/raw_formats, compared with what libsndfile reads and G.711 demands."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from voice_server.core.audio.raw_formats import RawFormat, raw_wav_header, to_raw

EVERY_SAMPLE = np.arange(-(2**15), 2**15).astype("<i2")
SUBTYPES = {"mulaw": "ULAW", "alaw": "ALAW", "pcm_f32le": "FLOAT", "pcm_s16le": "PCM_16"}


def _decoded(raw: bytes, kind: RawFormat) -> np.ndarray:
    samples, _ = soundfile.read(
        io.BytesIO(raw), dtype="float64", format="RAW", subtype=SUBTYPES[kind], samplerate=8000, channels=1
    )
    return samples * 2**15


@pytest.mark.parametrize("kind", ["mulaw", "alaw"])
def test_telephone_codes_stay_within_their_own_precision(kind: RawFormat) -> None:
    """G.711 has a step of at most 1/16 of the sample, and of 16 near silence."""
    wrong = np.abs(_decoded(to_raw(EVERY_SAMPLE.tobytes(), kind), kind) - EVERY_SAMPLE)
    assert np.all(wrong[1:-1] <= np.maximum(16, np.abs(EVERY_SAMPLE[1:-1].astype(int)) / 16))


def test_the_codes_of_silence_are_those_of_the_standard() -> None:
    assert to_raw(b"\0\0", "mulaw") == b"\xff"
    assert to_raw(b"\0\0", "alaw") == b"\xd5"


def test_floats_are_exact() -> None:
    assert np.array_equal(_decoded(to_raw(EVERY_SAMPLE.tobytes(), "pcm_f32le"), "pcm_f32le"), EVERY_SAMPLE)


def test_what_is_raw_already_is_not_touched() -> None:
    assert to_raw(b"\1\2\3\4", "pcm_s16le") == b"\1\2\3\4"


@pytest.mark.parametrize("kind", SUBTYPES)
def test_a_wav_header_names_the_format(kind: RawFormat) -> None:
    wav = raw_wav_header(16000, kind) + to_raw(EVERY_SAMPLE.tobytes(), kind)
    with soundfile.SoundFile(io.BytesIO(wav)) as file:
        assert (file.subtype, file.samplerate, file.channels) == (SUBTYPES[kind], 16000, 1)
        assert len(file.read()) == len(EVERY_SAMPLE)
