"""The table of Deepgram's doors, WS and POST `/v1/speak`: queries, bodies and messages in; messages and errors out.

docs/deepgram.md says what is answered to what. Unknown keys are ignored: clients send much that means nothing here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from voice_server.core.audio.raw_formats import RawFormat, to_raw
from voice_server.core.errors import BadMessage, EmptyText, UnknownFormat, VoiceError
from voice_server.core.events import AnswerCancelled, AnswerDone, AudioChunk, Event, Problem
from voice_server.core.limits import Limits

RAW: Mapping[str, RawFormat] = {"linear16": "pcm_s16le", "mulaw": "mulaw", "alaw": "alaw"}
# Deepgram's own defaults; the compressed formats have no other rate there.
_RATES = {"linear16": 24000, "mulaw": 8000, "alaw": 8000, "mp3": 22050, "opus": 48000, "flac": 48000, "aac": 22050}
_encoder = msgspec.json.Encoder()


# In


class Query(msgspec.Struct, frozen=True):
    """What stands in the URL. `backend` is ours."""

    model: str = ""
    encoding: str = ""
    container: str = ""
    sample_rate: int | None = None
    speed: Annotated[float, Meta(gt=0)] | None = None
    backend: str = ""


class SpeakRequest(msgspec.Struct, frozen=True):
    """The body of POST /v1/speak."""

    text: str


class Speak(msgspec.Struct, frozen=True, tag="Speak", tag_field="type"):
    text: str


class Flush(msgspec.Struct, frozen=True, tag="Flush", tag_field="type"):
    pass


class Clear(msgspec.Struct, frozen=True, tag="Clear", tag_field="type"):
    pass


class Close(msgspec.Struct, frozen=True, tag="Close", tag_field="type"):
    pass


ClientMessage = Speak | Flush | Clear | Close
_decoder: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(ClientMessage)


@dataclass(frozen=True, slots=True)
class Sound:
    """What the audio shall be: `encoding` in the bare, or in a `container`."""

    encoding: str
    container: Literal["none", "wav", "ogg"]
    sample_rate: int


def decode(data: str, limits: Limits) -> ClientMessage:
    """Raises BadMessage."""
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as problem:
        raise BadMessage(str(problem)[: limits.text.problem_chars]) from None
    except (ValueError, RecursionError):
        raise BadMessage("a message is one JSON object, in UTF-8") from None


def from_query(query: Mapping[str, str], limits: Limits) -> Query:
    """Raises BadMessage."""
    try:
        return msgspec.convert(dict(query), Query, strict=False)
    except msgspec.ValidationError as problem:
        raise BadMessage(str(problem)[: limits.text.problem_chars]) from None


def streamed_sound(query: Query, limits: Limits) -> Sound:
    """Of the WebSocket, which speaks bare audio only. Raises UnknownFormat."""
    encoding = query.encoding or "linear16"
    if encoding not in RAW:
        raise UnknownFormat(f"a WebSocket has the encodings {', '.join(RAW)}", field="encoding")
    if query.container not in ("", "none"):
        raise UnknownFormat("a WebSocket has no container", field="container")
    return Sound(encoding, "none", _rate(query, encoding, limits))


def file_sound(query: Query, limits: Limits) -> Sound:
    """Of the HTTP door. Raises UnknownFormat."""
    encoding = query.encoding or "mp3"
    if encoding not in _RATES:
        raise UnknownFormat(f"the encodings are {', '.join(_RATES)}", field="encoding")
    wrappers = ("wav", "none") if encoding in RAW else ("ogg",) if encoding == "opus" else ("none",)
    if (query.container or wrappers[0]) not in wrappers:
        raise UnknownFormat(f"the container of {encoding} is {' or '.join(wrappers)}", field="container")
    container: Any = query.container or wrappers[0]
    return Sound(encoding, container, _rate(query, encoding, limits))


def _rate(query: Query, encoding: str, limits: Limits) -> int:
    lowest, highest = limits.stream.sample_rate_min, limits.stream.sample_rate_max
    rate = query.sample_rate or _RATES[encoding]
    if not lowest <= rate <= highest:
        raise UnknownFormat(f"sample_rate is {lowest} to {highest} Hz", field="sample_rate")
    return rate


def options_of(query: Query, known: Collection[str]) -> dict[str, Any]:
    """What the query asks of the engine, as far as the engine has such an option."""
    return {"speed": query.speed} if query.speed is not None and "speed" in known else {}


# Out


def error_body(error: VoiceError, request_id: str) -> dict[str, str]:
    return {"err_code": error.code, "err_msg": error.message, "request_id": request_id}


def metadata(request_id: str, voice: str) -> str:
    """The first message of a WebSocket."""
    model = {"model_name": voice, "model_version": "", "model_uuid": ""}
    return _encoder.encode({"type": "Metadata", "request_id": request_id, **model}).decode()


class Replies:
    """What a client is told, event by event. Flushed and Cleared count together."""

    def __init__(self, encoding: str, limits: Limits) -> None:
        self._format = RAW[encoding]
        self._piece_bytes = limits.stream.coalesce_bytes
        self._sequence_id = 0
        self._was_heard = False  # some of this answer

    def to(self, event: Event) -> list[str] | list[bytes]:
        """Bytes are audio; nothing where Deepgram has no word for it."""
        match event:
            case AudioChunk(_, pcm):
                return self._audio(pcm)
            case Problem(error, sentence):
                return [self._problem(error, sentence)]
            case AnswerDone():
                return [self._end({"type": "Flushed"})]
            case AnswerCancelled(spoken_text, spoken_ms):  # the last two fields are ours
                return [self._end({"type": "Cleared", "spoken_text": spoken_text, "spoken_ms": spoken_ms})]
        return []

    def _audio(self, pcm: bytes) -> list[bytes]:
        """Clients refuse messages of a megabyte, and a chunk of an engine may be that long."""
        self._was_heard = True
        pieces = [pcm[at : at + self._piece_bytes] for at in range(0, len(pcm), self._piece_bytes)]
        return [to_raw(piece, self._format) for piece in pieces]

    def _end(self, message: dict[str, Any]) -> str:
        told = {**message, "sequence_id": self._sequence_id}
        self._sequence_id += 1
        self._was_heard = False
        return _encoder.encode(told).decode()

    def _problem(self, error: VoiceError, sentence: int | None) -> str:
        """An answer that nobody will hear is an error, so that a client may try again; all else is a warning."""
        is_silent = not self._was_heard and (sentence is not None or isinstance(error, EmptyText))
        kind = "Error" if is_silent or error.close_code is not None else "Warning"
        told = {"type": kind, "description": error.message, "code": error.code}
        if kind == "Error":
            told |= {"err_code": error.code, "err_msg": error.message}
        else:
            told |= {"warn_code": error.code, "warn_msg": error.message}
        return _encoder.encode(told).decode()
