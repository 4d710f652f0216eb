"""The table of Cartesia's doors, WS `/tts/websocket` and POST `/tts/bytes`: messages in; chunks, timestamps, ends out.

docs/cartesia.md says what is answered to what. Unknown keys are ignored: clients send much that means nothing here.
Every message out names its context, also where that is null: clients look it up before anything else.
"""

from __future__ import annotations

import base64
import re
from collections import deque
from collections.abc import Collection
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from voice_server.core.audio.pcm import duration_s
from voice_server.core.audio.raw_formats import RawFormat, to_raw
from voice_server.core.doors.limits import CartesiaLimits
from voice_server.core.errors import BadMessage, EmptyText, UnknownFormat, VoiceError
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    Problem,
    SentenceEnded,
    SentenceStarted,
)
from voice_server.core.limits import Limits
from voice_server.core.text.timings import word_times

_LIMITS = CartesiaLimits()
_PARTIAL, _OK = 206, 200  # what Cartesia puts into every message
_RAW: dict[str, RawFormat] = {
    "pcm_s16le": "pcm_s16le",
    "pcm_f32le": "pcm_f32le",
    "pcm_mulaw": "mulaw",
    "pcm_alaw": "alaw",
}
# Cartesia's own voices have such names. Clients must name one, and none of them is here.
_FOREIGN_VOICE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_encoder = msgspec.json.Encoder()

ContextId = Annotated[str, Meta(min_length=1, max_length=_LIMITS.context_id_chars)]


# In


class Voice(msgspec.Struct, frozen=True):
    mode: str = "id"
    id: str = ""


class OutputFormat(msgspec.Struct, frozen=True):
    container: Literal["raw", "wav", "mp3"] = "raw"
    encoding: str = "pcm_s16le"
    sample_rate: int = 24_000

    @property
    def raw(self) -> RawFormat:
        return _RAW[self.encoding]


class GenerationConfig(msgspec.Struct, frozen=True):
    speed: float | None = None


class Generate(msgspec.Struct, frozen=True, rename={"continues": "continue"}):
    """Text for a context, or the body of POST /tts/bytes."""

    transcript: str = ""
    voice: Voice | str | None = None
    output_format: OutputFormat = OutputFormat()
    context_id: ContextId | None = None
    continues: bool = False
    flush: bool = False
    add_timestamps: bool | None = None
    max_buffer_delay_ms: int | None = None
    generation_config: GenerationConfig | None = None
    cancel: bool = False

    @property
    def is_phrase(self) -> bool:
        """The transcript is complete in itself: the client has cut its text."""
        return self.max_buffer_delay_ms == 0


class _OnlyContext(msgspec.Struct):
    context_id: str | None = None


_decoder = msgspec.json.Decoder(Generate)
_context_decoder = msgspec.json.Decoder(_OnlyContext)


def decode(data: str, limits: Limits) -> Generate:
    """Raises BadMessage and UnknownFormat."""
    try:
        message = _decoder.decode(data)
    except msgspec.ValidationError as problem:
        raise BadMessage(str(problem)[: limits.text.problem_chars]) from None
    except (ValueError, RecursionError):
        raise BadMessage("a message is one JSON object, in UTF-8") from None
    check(message, limits)
    if message.output_format.container != "raw":
        raise UnknownFormat("a WebSocket has the container raw", field="output_format")
    return message


def context_of(data: str) -> str | None:
    """The context that a refused message is about, as far as it can be read."""
    try:
        name = _context_decoder.decode(data).context_id or ""
    except (ValueError, RecursionError):
        return None
    return name if 0 < len(name) <= _LIMITS.context_id_chars else None


def check(message: Generate, limits: Limits) -> None:
    """Raises UnknownFormat."""
    lowest, highest = limits.stream.sample_rate_min, limits.stream.sample_rate_max
    if message.output_format.encoding not in _RAW:
        raise UnknownFormat(f"the encodings are {', '.join(_RAW)}", field="output_format.encoding")
    if not lowest <= message.output_format.sample_rate <= highest:
        raise UnknownFormat(f"sample_rate is {lowest} to {highest} Hz", field="output_format.sample_rate")


def voice_of(message: Generate, voices: Collection[str]) -> str:
    """The voice to ask the backend for: one of Cartesia's own, or an embedding, is the default voice."""
    name = message.voice if isinstance(message.voice, str) else message.voice.id if message.voice else ""
    return "" if name not in voices and _FOREIGN_VOICE.fullmatch(name) else name


def options_of(message: Generate, known: Collection[str]) -> dict[str, Any]:
    """What the message asks of the engine, as far as the engine has such an option."""
    speed = message.generation_config.speed if message.generation_config else None
    return {"speed": speed} if speed is not None and "speed" in known else {}


# Out


def error_body(error: VoiceError) -> dict[str, Any]:
    title = error.code.replace("_", " ").capitalize()
    return {"error_code": error.code, "title": title, "message": error.message, "error": error.message}


def error_message(error: VoiceError, context_id: str | None) -> str:
    """The last word of its context."""
    return _message("error", context_id, done=True, status_code=error.http_status, **error_body(error))


def _message(kind: str, context_id: str | None, *, done: bool = False, status_code: int = _PARTIAL, **told: Any) -> str:
    envelope = {"type": kind, "done": done, "status_code": status_code, "context_id": context_id}
    return _encoder.encode({**envelope, **told}).decode()


class Replies:
    """What a client is told of one context. A flush ends a part of it, and its last part the whole."""

    def __init__(self, context_id: str, format: OutputFormat, limits: Limits, *, timestamps: bool) -> None:
        self.is_over = False  # nothing may be said of this context any more
        self._context_id = context_id
        self._format = format
        self._piece_bytes = limits.stream.coalesce_bytes
        self._timestamps = timestamps
        # Of the parts that are not spoken yet: the ends that each was given, and whether it is the last of all.
        self._ends: deque[list[bool]] = deque()
        self._flush_id = 0
        self._sent_bytes = 0  # of s16le
        self._sentence = ("", 0.0)  # its text, and when it began

    def expect_end(self, *, is_last: bool, has_part: bool) -> None:
        """A part is complete: an answer of the stream will end. Without one it is another end of the part before."""
        if has_part:
            self._ends.append([])
        self._ends[-1].append(is_last)

    def to(self, event: Event) -> list[str]:
        """The messages that say `event`; none for what Cartesia has no word for."""
        match event:
            case SentenceStarted(_, text):
                self._sentence = (text, duration_s(self._sent_bytes, self._format.sample_rate))
            case AudioChunk(_, pcm):
                return self._chunks(pcm)
            case SentenceEnded() if self._timestamps:
                return [self._words(event)]
            case Problem(EmptyText()):
                pass  # a part without a word; whether all of it was is seen at the end
            case Problem(error):
                return self._last(error_message(error, self._context_id))
            case AnswerDone():
                return [message for is_last in self._ends.popleft() for message in self._end_part(is_last)]
            case AnswerCancelled(spoken_text, spoken_ms):  # these three fields are ours
                heard = {"cancelled": True, "spoken_text": spoken_text, "spoken_ms": spoken_ms}
                return self._last(_message("done", self._context_id, done=True, status_code=_OK, **heard))
        return []

    def _last(self, message: str) -> list[str]:
        self.is_over = True
        return [message]

    def _chunks(self, pcm: bytes) -> list[str]:
        """Clients refuse messages of a megabyte, and a chunk of an engine may be that long."""
        self._sent_bytes += len(pcm)
        return [self._chunk(pcm[at : at + self._piece_bytes]) for at in range(0, len(pcm), self._piece_bytes)]

    def _chunk(self, pcm: bytes) -> str:
        data = base64.b64encode(to_raw(pcm, self._format.raw)).decode()
        return _message("chunk", self._context_id, data=data, flush_id=self._flush_id, step_time=0)

    def _words(self, ended: SentenceEnded) -> str:
        text, begin_s = self._sentence
        words = word_times(text, ended.duration_s, ended.lead_s)
        times = {
            "words": [word.word for word in words],
            "start": [round(begin_s + word.start_s, 3) for word in words],
            "end": [round(begin_s + word.end_s, 3) for word in words],
        }
        return _message("timestamps", self._context_id, word_timestamps=times)

    def _end_part(self, is_last: bool) -> list[str]:
        if not is_last:
            self._flush_id += 1
            return [_message("flush_done", self._context_id, flush_done=True, flush_id=self._flush_id)]
        if not self._sent_bytes:
            return self._last(error_message(EmptyText("there was nothing to speak"), self._context_id))
        return self._last(_message("done", self._context_id, done=True, status_code=_OK))
