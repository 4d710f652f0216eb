"""PCM as the float arrays of Python programs, and back."""

from __future__ import annotations

import numpy as np
import pytest

from voice_server.core.audio.floats import from_pcm, to_pcm
from voice_server.core.errors import UnknownFormat

EVERY_SAMPLE = np.arange(-(2**15), 2**15).astype("<i2")


def test_every_sample_comes_back_as_it_was() -> None:
    assert to_pcm(from_pcm(EVERY_SAMPLE.tobytes())) == EVERY_SAMPLE.tobytes()


def test_floats_lie_between_minus_one_and_one() -> None:
    audio = from_pcm(EVERY_SAMPLE.tobytes())
    assert audio.dtype == np.float32
    assert (audio.min(), audio.max()) == (-1.0, 32767 / 32768)


def test_integers_of_16_bits_are_taken_as_they_are() -> None:
    assert to_pcm(EVERY_SAMPLE) == EVERY_SAMPLE.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_channels_are_mixed(dtype: type) -> None:
    assert to_pcm(np.array([[0.5, 0.0], [-0.5, -0.5]], dtype)) == np.array([8192, -16384], "<i2").tobytes()


def test_what_is_too_loud_is_cut_and_what_is_no_number_is_silence() -> None:
    wild = np.array([2.0, -2.0, np.nan, np.inf], np.float32)
    assert to_pcm(wild) == np.array([32767, -32768, 0, 0], "<i2").tobytes()


@pytest.mark.parametrize("audio", [np.zeros(3, np.int32), np.zeros(3, np.uint8), np.zeros((2, 2, 2)), np.array(["a"])])
def test_what_is_no_audio_is_refused(audio: np.ndarray) -> None:
    with pytest.raises(UnknownFormat):
        to_pcm(audio)
