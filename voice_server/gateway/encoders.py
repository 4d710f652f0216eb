"""PCM in, a file format out, piece by piece: what a door streams to a client that wants no bare PCM.

Promises: every `push` gives what can be played so far, `flush` gives all that is left, and together they are a file
whose decoded audio misses no sample of what was pushed. pcm, wav, mp3 and flac are always there; opus and aac need the
extra `av`, because PyAV's wheels hold GPL code and 100 MB. Knows nothing of sockets.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
import soundfile

from voice_server.core.audio.pcm import wav_header
from voice_server.core.errors import UnknownFormat


class Encoder(Protocol):
    content_type: str

    def push(self, pcm: bytes) -> bytes:
        """Of s16le mono, whole samples. The first result that is not empty begins with the format's head."""
        ...

    def flush(self) -> bytes:
        """The end of the file. Nothing may be pushed after it."""
        ...


@dataclass(frozen=True, slots=True)
class _Format:
    content_type: str
    begin: Callable[[int], Encoder]  # with a sample rate
    begin_whole: Callable[[int], Encoder]  # a complete file at the end, with all that a stream cannot know in its head
    rates: tuple[int, ...] = ()  # () is any
    is_costly: bool = False  # more than 1 ms of CPU for a second of audio (measured): not on the event loop


def encoder(name: str, sample_rate: int) -> Encoder:
    """Raises UnknownFormat, also for a sample rate that the format does not have."""
    return _format(name, sample_rate).begin(sample_rate)


def encode_whole(name: str, sample_rate: int, pcm: bytes) -> bytes:
    """A complete file: true lengths in its head, and no padding where the format can say so. Raises UnknownFormat."""
    making = whole_encoder(name, sample_rate)
    making.push(pcm)
    return making.flush()


def whole_encoder(name: str, sample_rate: int) -> Encoder:
    """Gives nothing until `flush`, and then what `encode_whole` gives for all that was pushed. Raises UnknownFormat."""
    return _format(name, sample_rate).begin_whole(sample_rate)


def content_type(name: str) -> str:
    return _FORMATS[name].content_type


def is_costly(name: str) -> bool:
    """Whether encoding belongs into a thread."""
    return _FORMATS[name].is_costly


def _format(name: str, sample_rate: int) -> _Format:
    if name not in _FORMATS:
        raise UnknownFormat(f"the formats are {', '.join(_FORMATS)}", field="response_format")
    found = _FORMATS[name]
    if found.rates and sample_rate not in found.rates:
        rates = ", ".join(map(str, found.rates))
        raise UnknownFormat(f"{name} has one of the sample rates {rates}", field="sample_rate")
    if name in _BY_AV:
        _av()
    return found


# Bare PCM, and WAV: 44 bytes and PCM


class _Plain:
    def __init__(self, content_type: str, head: bytes = b"") -> None:
        self.content_type = content_type
        self._head = head

    def push(self, pcm: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + pcm

    def flush(self) -> bytes:
        return self.push(b"")


class _Kept:
    """All that an encoder made, at once; `head` tells what comes before so many bytes."""

    def __init__(self, encoder: Encoder, head: Callable[[int], bytes] = lambda size: b"") -> None:
        self.content_type = encoder.content_type
        self._encoder = encoder
        self._head = head
        self._made: list[bytes] = []

    def push(self, pcm: bytes) -> bytes:
        self._made.append(self._encoder.push(pcm))
        return b""

    def flush(self) -> bytes:
        self._made.append(self._encoder.flush())
        return b"".join([self._head(sum(map(len, self._made))), *self._made])


# libsndfile, into a file that is taken away while it is written


@dataclass(slots=True)
class _Sink:
    """What libsndfile and PyAV take for a file. What was taken away cannot be written again: such writes are lost."""

    waiting: bytearray = field(default_factory=bytearray)
    taken: int = 0
    at: int = 0
    lost: int = 0  # bytes of the last write that came too late

    def write(self, data: bytes) -> int:
        self.lost = min(len(data), max(0, self.taken - self.at))
        begin = self.at + self.lost - self.taken
        self.waiting[begin : begin + len(data) - self.lost] = data[self.lost :]
        self.at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        end = self.taken + len(self.waiting)
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: end}[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def take(self) -> bytes:
        data = bytes(self.waiting)
        self.taken += len(data)
        self.waiting.clear()
        return data


# A constant bit rate, because players guess the length of a stream from its first frames. FLAC's level 2 has blocks of
# 48 ms, from level 3 on they are 170 ms (libFLAC's table), which would be heard later.
_SOUND_FILES: dict[str, dict[str, Any]] = {
    "mp3": {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.5},
    "flac": {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.25},
}


class _SoundFile:
    def __init__(self, name: str, sample_rate: int, *, is_whole: bool = False) -> None:
        self.content_type = content_type(name)
        self._sink = _Sink()
        self._file = _open_sound_file(name, self._sink, sample_rate)
        self._is_whole = is_whole  # nothing is taken away before its head is written again, with true lengths
        self._unwanted = _index_bytes(sample_rate) if name == "mp3" and not is_whole else 0

    def push(self, pcm: bytes) -> bytes:
        self._file.buffer_write(pcm, "int16")
        return b"" if self._is_whole else self._take()

    def flush(self) -> bytes:
        self._file.close()
        return self._take()

    def _take(self) -> bytes:
        data = self._sink.take()
        wanted = data[self._unwanted :]
        self._unwanted -= len(data) - len(wanted)
        return wanted


def _open_sound_file(name: str, sink: _Sink, sample_rate: int) -> Any:
    return soundfile.SoundFile(sink, "w", samplerate=sample_rate, channels=1, **_SOUND_FILES[name])


@lru_cache
def _index_bytes(sample_rate: int) -> int:
    """The length of the empty frame with which libsndfile begins an MP3, to write an index there at the end.

    A stream would play it as 24 ms of silence. Its length is that of the write which comes too late.
    """
    sink = _Sink()
    file = _open_sound_file("mp3", sink, sample_rate)
    file.buffer_write(bytes(sample_rate), "int16")
    sink.take()
    file.close()
    return sink.lost


# PyAV


@dataclass(frozen=True, slots=True)
class _Codec:
    container: str
    codec: str
    bit_rate: int
    options: dict[str, str] = field(default_factory=dict)  # of the container


_BY_AV = {
    "opus": _Codec("ogg", "libopus", 48_000, {"page_duration": "20000"}),  # µs; else a page is 1 s of audio
    "aac": _Codec("adts", "aac", 64_000),
}


class _AvFile:
    def __init__(self, name: str, sample_rate: int) -> None:
        av, codec = _av(), _BY_AV[name]
        self.content_type = content_type(name)
        self._sink = _Sink()
        self._container = av.open(_Unseekable(self._sink), "w", format=codec.container, options=codec.options)
        self._stream = self._container.add_stream(codec.codec, rate=sample_rate, layout="mono")
        self._stream.bit_rate = codec.bit_rate
        self._make_frame = av.AudioFrame.from_ndarray
        self._rate = sample_rate
        self._samples = 0

    def push(self, pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, dtype="<i2")
        if len(samples):
            self._container.mux(self._stream.encode(self._frame(samples)))
        return self._sink.take()

    def flush(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()

    def _frame(self, samples: Any) -> Any:
        frame = self._make_frame(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._samples
        self._samples += len(samples)
        return frame


@dataclass(frozen=True, slots=True)
class _Unseekable:
    """PyAV seeks where it can, and leaves it where there is no `seek`."""

    sink: _Sink

    def write(self, data: bytes) -> int:
        return self.sink.write(data)


def _av() -> Any:
    try:
        return importlib.import_module("av")  # 50 ms and 30 MB that only those pay who ask for it
    except ImportError:
        raise UnknownFormat(
            "opus and aac need the extra `av`: pip install 'voice-server[av]'", field="response_format"
        ) from None


_MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


def _sound_file(name: str, **more: Any) -> _Format:
    return _Format(begin=partial(_SoundFile, name), begin_whole=partial(_SoundFile, name, is_whole=True), **more)


def _av_file(name: str, **more: Any) -> _Format:
    return _Format(
        begin=partial(_AvFile, name), begin_whole=lambda rate: _Kept(_AvFile(name, rate)), is_costly=True, **more
    )


def _begin_whole_wav(sample_rate: int) -> Encoder:
    return _Kept(_Plain("audio/wav"), partial(wav_header, sample_rate))


_FORMATS = {
    "mp3": _sound_file("mp3", content_type="audio/mpeg", rates=_MPEG_RATES, is_costly=True),
    "opus": _av_file("opus", content_type="audio/ogg", rates=_OPUS_RATES),
    "aac": _av_file("aac", content_type="audio/aac", rates=_MPEG_RATES),
    "flac": _sound_file("flac", content_type="audio/flac"),
    "wav": _Format("audio/wav", lambda rate: _Plain("audio/wav", wav_header(rate, None)), _begin_whole_wav),
    "pcm": _Format("audio/pcm", lambda rate: _Plain("audio/pcm"), lambda rate: _Kept(_Plain("audio/pcm"))),
}
CONTENT_TYPES = tuple(form.content_type for form in _FORMATS.values())
