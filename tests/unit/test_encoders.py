"""Encoders against decoders that are not ours: libsndfile's and ffmpeg's."""

from __future__ import annotations

import io
import struct
import sys

import av
import numpy as np
import pytest
import soundfile

from voice_server.core.errors import UnknownFormat
from voice_server.gateway.encoders import content_type, encode_whole, encoder

RATE = 24_000
SECONDS = 2.53  # no whole number of frames in any format
STEP = RATE // 10 * 2
ENCODED = ["mp3", "opus", "aac", "flac", "wav"]
# What a stream cannot say: an encoder's delay and the rest of its last frame. MPEG players skip some of it or none.
PADDING_S = {"mp3": 0.075, "aac": 0.075}


def _tone(seconds: float = SECONDS) -> bytes:
    times = np.arange(int(RATE * seconds)) / RATE
    return bytes((np.sin(2 * np.pi * 440 * times) * 8000).astype("<i2").tobytes())


def _streamed(name: str, pcm: bytes, step: int = STEP) -> list[bytes]:
    making = encoder(name, RATE)
    return [*(making.push(pcm[at : at + step]) for at in range(0, len(pcm), step)), making.flush()]


def _decoded(data: bytes) -> tuple[np.ndarray, int]:
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono")
        frames = list(container.decode(audio=0))
        rate = frames[0].sample_rate
        return np.concatenate([part.to_ndarray()[0] for frame in frames for part in resampler.resample(frame)]), rate


@pytest.mark.parametrize("name", ENCODED)
def test_a_streamed_file_lasts_as_long_as_what_was_pushed(name: str) -> None:
    samples, rate = _decoded(b"".join(_streamed(name, _tone())))
    surplus_s = len(samples) / rate - SECONDS
    assert -0.001 <= surplus_s <= PADDING_S.get(name, 0.001)


@pytest.mark.parametrize("name", ENCODED)
def test_the_last_syllable_is_in_the_file(name: str) -> None:
    """Silence with a tone in its last 50 ms: most of that tone's energy comes out again."""
    pcm = bytes(2 * RATE) + _tone(0.05)
    samples, rate = _decoded(b"".join(_streamed(name, pcm)))
    sent = np.frombuffer(_tone(0.05), dtype="<i2") / 32768
    heard_energy = float(np.sum(np.square(samples, dtype=np.float64))) / rate
    assert heard_energy >= 0.8 * float(np.sum(sent**2)) / RATE


@pytest.mark.parametrize("name", ENCODED)
def test_audio_flows_while_it_is_pushed(name: str) -> None:
    made = _streamed(name, _tone())
    assert all(made[:-2])
    assert len(made[-1]) < 0.1 * sum(map(len, made))


@pytest.mark.parametrize("name", ["mp3", "flac", "opus", "wav"])
def test_a_whole_file_says_its_exact_length(name: str) -> None:
    info = soundfile.info(io.BytesIO(encode_whole(name, RATE, _tone())))
    assert info.duration == pytest.approx(SECONDS, abs=0.001)


def test_how_it_is_cut_changes_nothing() -> None:
    for name in ("mp3", "flac", "wav", "pcm"):
        assert b"".join(_streamed(name, _tone(), 302)) == b"".join(_streamed(name, _tone(), 96_000)), name


def test_a_streamed_mp3_does_not_begin_with_an_empty_frame() -> None:
    first = b"".join(_streamed("mp3", _tone()))[:400]
    assert first[:2] == b"\xff\xf3"
    assert first[4:100].strip(b"\0")


def test_a_streamed_wav_says_that_its_length_is_unknown() -> None:
    head = encoder("wav", RATE).push(b"\0\0")
    assert struct.unpack("<I", head[4:8]) == struct.unpack("<I", head[40:44]) == (0xFFFFFFFF,)
    assert len(head) == 46


def test_a_whole_wav_has_true_sizes() -> None:
    head = encode_whole("wav", RATE, _tone())[:44]
    assert struct.unpack("<I", head[40:44])[0] == len(_tone())


def test_pcm_is_what_was_pushed() -> None:
    assert b"".join(_streamed("pcm", _tone())) == encode_whole("pcm", RATE, _tone()) == _tone()


@pytest.mark.parametrize("name", ["", "ogg", "MP3", "../wav"])
def test_an_unknown_format_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(UnknownFormat, match="mp3, opus, aac, flac, wav, pcm"):
        encoder(name, RATE)


@pytest.mark.parametrize(("name", "rate"), [("mp3", 23_999), ("opus", 44_100), ("aac", 9_000)])
def test_a_rate_that_a_format_does_not_have_is_refused(name: str, rate: int) -> None:
    with pytest.raises(UnknownFormat) as refused:
        encoder(name, rate)
    assert refused.value.field == "sample_rate"


@pytest.mark.parametrize("name", ["opus", "aac"])
def test_without_the_extra_a_person_is_told_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)  # as Python itself marks a module that is not there
    with pytest.raises(UnknownFormat, match=r"voice-server\[av\]"):
        encoder(name, RATE)
    assert encoder("mp3", RATE).content_type == content_type("mp3") == "audio/mpeg"
