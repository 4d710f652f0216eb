from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_server.core.audio import pcm

RATE = 24_000


def tone(seconds: float, sample_rate: int, hertz: float = 440.0) -> bytes:
    moments = np.arange(round(seconds * sample_rate)) / sample_rate
    return (10_000 * np.sin(2 * np.pi * hertz * moments)).astype("<i2").tobytes()


def test_a_second_is_as_many_samples_as_the_rate_says() -> None:
    assert pcm.duration_s(2 * RATE, RATE) == 1.0
    assert pcm.byte_count(1.0, RATE) == 2 * RATE


@given(seconds=st.floats(0, 3600), sample_rate=st.integers(8_000, 48_000))
def test_a_byte_count_is_whole_samples_and_never_too_long(seconds: float, sample_rate: int) -> None:
    count = pcm.byte_count(seconds, sample_rate)
    assert count % pcm.SAMPLE_BYTES == 0
    assert 0 <= seconds - pcm.duration_s(count, sample_rate) < 1.01 / sample_rate


# Fade


def test_a_fade_rises_in_a_straight_line_from_silence() -> None:
    faded = np.frombuffer(pcm.fade_in(np.full(8, 1000, "<i2").tobytes(), 1000, 0.004), "<i2")
    assert faded.tolist() == [0, 250, 500, 750, 1000, 1000, 1000, 1000]


def test_a_fade_leaves_what_is_behind_it_as_it_is() -> None:
    loudest = np.array([-32768, 32767] * 500, "<i2").tobytes()
    assert pcm.fade_in(loudest, RATE, 0.005)[240:] == loudest[240:]


def test_audio_shorter_than_the_fade_has_risen_by_its_end() -> None:
    faded = np.frombuffer(pcm.fade_in(np.full(2, 1000, "<i2").tobytes(), RATE, 0.005), "<i2")
    assert faded.tolist() == [0, 500]


@given(st.binary(max_size=400).map(lambda data: data[: len(data) // 2 * 2]))
def test_a_fade_never_makes_a_sample_louder(audio: bytes) -> None:
    before = np.frombuffer(audio, "<i2").astype(int)
    after = np.frombuffer(pcm.fade_in(audio, RATE, 0.005), "<i2").astype(int)
    assert len(after) == len(before)
    assert (abs(after) <= abs(before)).all()


# WAV


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 24_000, 48_000])
def test_a_wav_file_is_read_back_as_it_was_written(sample_rate: int) -> None:
    audio = tone(0.1, sample_rate)
    file = io.BytesIO(pcm.wav_header(sample_rate, len(audio)) + audio)
    info = soundfile.info(file)
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_16", 1, sample_rate)
    file.seek(0)
    samples, _ = soundfile.read(file, dtype="int16")
    assert samples.astype("<i2").tobytes() == audio


def test_a_wav_header_without_a_length_is_read_to_the_end_of_the_data() -> None:
    audio = tone(0.1, RATE)
    samples, rate = soundfile.read(io.BytesIO(pcm.wav_header(RATE, None) + audio), dtype="int16")
    assert rate == RATE
    assert samples.astype("<i2").tobytes() == audio


def test_a_wav_header_is_44_bytes() -> None:
    assert len(pcm.wav_header(RATE, 0)) == len(pcm.wav_header(RATE, None)) == 44


# Resampling

RATES = st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000])


def resampled(chunks: list[bytes], from_rate: int, to_rate: int) -> bytes:
    resampler = pcm.Resampler(from_rate, to_rate)
    return b"".join(resampler.push(chunk) for chunk in chunks) + resampler.flush()


@settings(max_examples=60, deadline=None)
@given(from_rate=RATES, to_rate=RATES, sizes=st.lists(st.integers(0, 3_000), max_size=10))
def test_resampling_chunk_by_chunk_equals_resampling_at_once(from_rate: int, to_rate: int, sizes: list[int]) -> None:
    whole = tone(sum(sizes) / from_rate, from_rate)
    places = np.cumsum([0, *sizes]) * pcm.SAMPLE_BYTES
    chunks = [whole[begin : begin + 2 * size] for begin, size in zip(places, sizes, strict=False)]
    assert resampled(chunks, from_rate, to_rate) == resampled([whole], from_rate, to_rate)


@settings(max_examples=30, deadline=None)
@given(from_rate=RATES, to_rate=RATES, samples=st.integers(0, 20_000))
def test_resampling_keeps_the_duration_to_a_sample(from_rate: int, to_rate: int, samples: int) -> None:
    length = len(resampled([bytes(2 * samples)], from_rate, to_rate)) / pcm.SAMPLE_BYTES
    assert abs(length - samples * to_rate / from_rate) <= 1


@pytest.mark.parametrize(("from_rate", "to_rate"), [(24_000, 48_000), (44_100, 24_000), (48_000, 8_000)])
def test_resampling_keeps_the_sound(from_rate: int, to_rate: int) -> None:
    got = np.frombuffer(resampled([tone(0.5, from_rate)], from_rate, to_rate), "<i2").astype(int)
    wanted = np.frombuffer(tone(0.5, to_rate), "<i2").astype(int)
    middle = slice(len(wanted) // 4, -len(wanted) // 4)
    assert abs(got[: len(wanted)][middle] - wanted[middle]).max() < 20


@pytest.mark.parametrize("level", [-9_999, -1, 1, 9_999])
def test_resampling_rounds_to_the_nearest_step(level: int) -> None:
    got = np.frombuffer(resampled([np.full(4_800, level, "<i2").tobytes()], 24_000, 44_100), "<i2")
    assert set(got[3_000:6_000].tolist()) == {level}


def test_the_loudest_audio_is_clipped_and_does_not_wrap_around() -> None:
    square = np.repeat(np.array([32767, -32768] * 20, "<i2"), 100)
    got = np.frombuffer(resampled([square.tobytes()], 24_000, 48_000), "<i2").astype(int)
    centres = got[100::200][:40]
    assert (centres[0::2] > 30_000).all()
    assert (centres[1::2] < -30_000).all()
    jumps = abs(np.diff(got))
    assert jumps.max() < 60_000  # a wrap-around jumps by the whole range within one sample


def test_a_sentence_without_audio_resamples_to_nothing() -> None:
    assert resampled([], 24_000, 48_000) == b""


# Silence

QUIET, LOUD = pcm.AUDIBLE, pcm.AUDIBLE + 1


def test_a_sample_is_audible_above_50_db_below_full_scale() -> None:
    assert 20 * np.log10(QUIET / 32768) <= -50 < 20 * np.log10(LOUD / 32768)


@pytest.mark.parametrize(
    ("samples", "span"),
    [
        ([], (0, 0)),
        ([0, QUIET, -QUIET], (0, 0)),
        ([LOUD], (0, 1)),
        ([0, -LOUD, 0], (1, 2)),
        ([0, -32768, 0, 32767, 0, 0], (1, 4)),
    ],
)
def test_the_audible_span_is_from_the_first_to_the_last_audible_sample(
    samples: list[int], span: tuple[int, int]
) -> None:
    assert pcm.audible_span(np.array(samples, "<i2").tobytes()) == (2 * span[0], 2 * span[1])


@given(st.lists(st.sampled_from([0, QUIET, -QUIET, LOUD, -LOUD, 32767, -32768])))
def test_audio_ends_audibly_exactly_where_its_audible_span_does(samples: list[int]) -> None:
    audio = np.array(samples, "<i2").tobytes()
    assert pcm.ends_audibly(audio) == (bool(samples) and pcm.audible_span(audio)[1] == len(audio))
