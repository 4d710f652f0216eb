"""The table of Wyoming, the protocol of Home Assistant: events of a client in → what it said; our events → bytes out.

An event is a line of JSON, then as many bytes of JSON data and of payload as the line names. Whoever reads it checks
`Header` before reading on: it refuses lengths that no client of speech synthesis needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from voice_server import __version__
from voice_server.core.audio.pcm import SAMPLE_BYTES, duration_s
from voice_server.core.errors import BadMessage, EmptyText, TextTooLong, VoiceError
from voice_server.core.events import AnswerDone, AudioChunk, Event, Problem
from voice_server.core.limits import Limits

_ATTRIBUTION = {"name": "Voice Server", "url": ""}
_OTHER_SERVICES = ("asr", "handle", "intent", "wake", "mic", "snd")  # Home Assistant wants each named
_encoder = msgspec.json.Encoder()


# What a client says


class Header(msgspec.Struct, frozen=True):
    type: str
    data: dict[str, Any] = {}
    data_length: int | None = None
    payload_length: int | None = None


class Voice(msgspec.Struct, frozen=True):
    name: str | None = None
    language: str | None = None


class Describe(msgspec.Struct, frozen=True):
    pass


class Ping(msgspec.Struct, frozen=True):
    text: str | None = None


class Synthesize(msgspec.Struct, frozen=True):
    text: str
    voice: Voice | None = None


class SynthesizeStart(msgspec.Struct, frozen=True):
    voice: Voice | None = None


class SynthesizeChunk(msgspec.Struct, frozen=True):
    text: str


class SynthesizeStop(msgspec.Struct, frozen=True):
    pass


Said = Describe | Ping | Synthesize | SynthesizeStart | SynthesizeChunk | SynthesizeStop

_KINDS: dict[str, type[Said]] = {
    "describe": Describe,
    "ping": Ping,
    "synthesize": Synthesize,
    "synthesize-start": SynthesizeStart,
    "synthesize-chunk": SynthesizeChunk,
    "synthesize-stop": SynthesizeStop,
}


def header(line: bytes, limits: Limits) -> Header:
    """The first line of an event. Raises BadMessage or TextTooLong: where the next event begins is unknown then."""
    try:
        told = msgspec.json.decode(line, type=Header)
    except (ValueError, RecursionError):
        raise BadMessage("an event begins with one line of JSON that names its type") from None
    for length in (told.data_length or 0, told.payload_length or 0):
        if not 0 <= length <= limits.text.message_bytes:
            raise TextTooLong(f"an event has at most {limits.text.message_bytes} bytes of data and of payload")
    return told


def said(told: Header, data: bytes) -> Said | None:
    """What the client said; None for what this server has no ears for. Raises BadMessage."""
    kind = _KINDS.get(told.type)
    if kind is None:
        return None
    try:
        more = msgspec.json.decode(data, type=dict[str, Any]) if data else {}
        return msgspec.convert({**told.data, **more}, kind)
    except (ValueError, RecursionError):
        raise BadMessage(f"the data of this event is not that of {told.type}") from None


# What a client hears


def encode(kind: str, data: Mapping[str, Any] | None = None, payload: bytes = b"") -> bytes:
    body = _encoder.encode(data) if data else b""
    lengths = {"data_length": len(body), "payload_length": len(payload)}
    line = {"type": kind, "version": __version__, **{name: length for name, length in lengths.items() if length}}
    return _encoder.encode(line) + b"\n" + body + payload


def error(problem: VoiceError) -> bytes:
    return encode("error", {"text": problem.message, "code": problem.code})


def pong(text: str | None) -> bytes:
    return encode("pong", {"text": text})


def info(backend: str, voices: Iterable[str], languages: Sequence[str]) -> bytes:
    """Home Assistant offers a voice to users of its languages only."""
    about = {"attribution": _ATTRIBUTION, "installed": True, "version": __version__}
    offered = [{"name": name, "description": name, "languages": [*languages], **about} for name in voices]
    program = {"name": backend, "description": f"Voice Server with {backend}", "voices": offered, **about}
    tts = [{**program, "supports_synthesize_streaming": True}]
    return encode("info", {"tts": tts, **{service: [] for service in _OTHER_SERVICES}})


class Replies:
    """Of one answer: it begins with its first audio, and one that has none ends with an error.

    `streamed`: the client sent its text in chunks, and waits for one event more at the end.
    """

    def __init__(self, sample_rate: int, *, streamed: bool) -> None:
        self._format = {"rate": sample_rate, "width": SAMPLE_BYTES, "channels": 1}
        self._sample_rate = sample_rate
        self._streamed = streamed
        self._sent_bytes = 0
        self._has_failed = False

    @property
    def is_silent(self) -> bool:
        return not self._sent_bytes

    def to(self, event: Event) -> bytes:
        """The bytes that say `event`; none for what Wyoming has no word for."""
        match event:
            case AudioChunk(_, pcm):
                return self._start() + self._audio(pcm)
            case Problem(problem):
                self._has_failed = True
                return error(problem)
            case AnswerDone():
                return self._end()
        return b""

    def _start(self) -> bytes:
        return encode("audio-start", {**self._format, "timestamp": 0}) if self.is_silent else b""

    def _audio(self, pcm: bytes) -> bytes:
        timestamp = round(duration_s(self._sent_bytes, self._sample_rate) * 1000)
        self._sent_bytes += len(pcm)
        return encode("audio-chunk", {**self._format, "timestamp": timestamp}, pcm)

    def _end(self) -> bytes:
        if self.is_silent:
            return b"" if self._has_failed else error(EmptyText("there is no text to speak"))
        timestamp = round(duration_s(self._sent_bytes, self._sample_rate) * 1000)
        stop = encode("audio-stop", {"timestamp": timestamp})
        return stop + encode("synthesize-stopped") if self._streamed else stop
