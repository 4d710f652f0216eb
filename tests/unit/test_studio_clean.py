"""What the studio does to a recording: level, ends, channels; and that it changes nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voice_server.studio.clean import RATE, Refused, clean, decibels, speech_level

Sound = NDArray[np.float32]


def hum(seconds: float = 2.0, level: float = 0.1, rate: int = RATE, pitch_hz: float = 200.0) -> Sound:
    return (level * np.sin(2 * np.pi * pitch_hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def silence(seconds: float) -> Sound:
    return np.zeros(int(seconds * RATE), dtype=np.float32)


def cleaned(*parts: Sound, rate: int = RATE) -> Sound:
    return clean(np.concatenate(parts)[:, None], rate, 1.0).astype(np.float32) / 32767


@pytest.mark.parametrize("level", [0.01, 0.1, 0.9])
def test_speech_comes_to_the_same_level_however_loud_it_was(level: float) -> None:
    assert speech_level(cleaned(hum(level=level))) == pytest.approx(-20.0, abs=0.1)


def test_a_peak_stays_below_full_scale_at_the_price_of_the_level() -> None:
    peaky = hum(level=0.01)
    peaky[RATE] = 0.9
    assert decibels(float(np.abs(cleaned(peaky)).max())) == pytest.approx(-1.0, abs=0.1)


def test_pauses_do_not_count_as_quiet_speech() -> None:
    talk = cleaned(hum(level=0.05), silence(5.0), hum(level=0.05))
    assert float(np.abs(talk).max()) == pytest.approx(float(np.abs(cleaned(hum())).max()), rel=0.01)


def test_silence_at_the_ends_is_cut_but_for_a_margin() -> None:
    assert len(cleaned(silence(3.0), hum(2.0), silence(4.0))) == pytest.approx(2.2 * RATE, abs=0.05 * RATE)


def test_a_pause_within_speech_is_kept() -> None:
    assert len(cleaned(hum(), silence(3.0), hum())) == 7.0 * RATE


def test_a_quiet_ending_is_speech_too() -> None:
    assert len(cleaned(hum(level=0.3), hum(level=0.02))) == 4.0 * RATE


def test_direct_current_is_taken_out() -> None:
    assert abs(float(cleaned(hum() + np.float32(0.3)).mean())) < 0.001


@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
def test_the_pitch_stays_whatever_the_rate_was(rate: int) -> None:
    powers = np.abs(np.fft.rfft(cleaned(hum(rate=rate, pitch_hz=440.0), rate=rate)[:RATE]))
    assert int(powers.argmax()) == 440


@pytest.mark.parametrize("other", [-1.0, 0.0, 1.0])
def test_of_two_channels_whose_mean_is_silent_the_voice_is_kept(other: float) -> None:
    stereo = np.stack([hum(), other * hum()], axis=1).astype(np.float32)
    assert np.allclose(clean(stereo, RATE, 1.0), clean(hum()[:, None], RATE, 1.0), atol=2)


def test_the_same_recording_gives_the_same_samples() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, (2 * 44_100, 2)).astype(np.float32)
    assert np.array_equal(clean(noise, 44_100, 1.0), clean(noise.copy(), 44_100, 1.0))


@pytest.mark.parametrize(
    ("sound", "why"),
    [
        (silence(2.0), "silent"),
        (hum(level=0.003), "silent"),
        (hum(0.7), "0.7 s are left"),
        (np.full(RATE * 2, np.nan, dtype=np.float32), "no numbers"),
        (np.sign(hum()), "overdriven"),
    ],
)
def test_what_cannot_be_a_voice_is_refused_with_the_reason(sound: Sound, why: str) -> None:
    with pytest.raises(Refused, match=why):
        cleaned(sound)
