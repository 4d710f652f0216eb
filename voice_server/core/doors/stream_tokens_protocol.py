"""The table of `/stream-tokens`: client messages in → typed requests; events → messages out.

docs/stream-tokens.md is its specification. A client written for the original Voice Server speaks a subset of it.
msgspec refuses what plain JSON lets through: lone surrogates, NaN, depth bombs, wrong types (facts measured on 0.20).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from voice_server.core.errors import BadMessage, TextTooLong
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    FormatChanged,
    Problem,
    ResumeOffer,
    SentenceAccepted,
    SentenceEnded,
    SentenceQueued,
    SentenceRendering,
    SentenceResumed,
    SentenceStarted,
    StreamReady,
)
from voice_server.core.limits import Limits
from voice_server.core.text.timings import WordTime, word_times

PROTOCOL = 1
AUDIO_FORMAT = "pcm_s16le"
SENTENCE_CHARS = 50  # of the sentence in a `generating` message, as the original has it
NATIVE = "native"


class Claim(msgspec.Struct, frozen=True):
    """A client that lost its socket: which stream is its own, and what it has of it."""

    token: str
    bytes: Annotated[int, msgspec.Meta(ge=0, multiple_of=2)]  # of audio, whole samples
    messages: Annotated[int, msgspec.Meta(ge=0)] | None = None  # without every `ready`


class ClientMessage(msgspec.Struct, frozen=True):
    """What a client may say. Fields are in the order in which they are applied; unknown keys are ignored."""

    resume: Claim | None = None
    cancel: bool = False
    voice: str | None = None
    opts: dict[str, Any] | None = None
    sample_rate: int | Literal["native"] | None = None
    keep_open: bool | None = None
    words: bool | None = None
    token: str | None = None
    flush: bool = False
    done: bool | int | str | None = None  # the original takes anything truthy


_decoder = msgspec.json.Decoder(ClientMessage)
_encoder = msgspec.json.Encoder()


def decode(data: str | bytes, limits: Limits) -> ClientMessage:
    """The client's message. Raises BadMessage or TextTooLong with the field that is wrong."""
    try:
        message = _decoder.decode(data)
    except msgspec.ValidationError as problem:
        raise _refusal(problem, limits) from None
    except (ValueError, RecursionError):
        raise BadMessage("a message is one JSON object, in UTF-8") from None
    return _checked(message, limits)


def from_query(query: dict[str, str], limits: Limits) -> ClientMessage:
    """The part of a first message that may stand in the URL: voice, sample_rate, keep_open, words."""
    known = {key: query[key] for key in ("voice", "sample_rate", "keep_open", "words") if key in query}
    try:
        message = msgspec.convert(known, ClientMessage, strict=False)
    except msgspec.ValidationError as problem:
        raise _refusal(problem, limits) from None
    return _checked(message, limits)


def resume_from_query(query: dict[str, str], limits: Limits) -> Claim | bool:
    """`resume` in the URL: whether the client wants to be able to come back, or that it does."""
    wish = query.get("resume", "0")
    try:
        return msgspec.convert(wish, bool, strict=False)
    except msgspec.ValidationError:
        place = {key: query[key] for key in ("bytes", "messages") if key in query}
    try:
        return msgspec.convert({"token": wish} | place, Claim, strict=False)
    except msgspec.ValidationError as problem:
        raise _refusal(problem, limits) from None


def _refusal(problem: msgspec.ValidationError, limits: Limits) -> BadMessage:
    """What msgspec says. It may quote the client, at any length and with anything in it."""
    text = str(problem)
    what, path = text.rsplit(" - at `$", 1) if " - at `$" in text else (text, "")
    return BadMessage(what[: limits.text.problem_chars], field=path.strip("`.") or None)


def _checked(message: ClientMessage, limits: Limits) -> ClientMessage:
    lowest, highest = limits.stream.sample_rate_min, limits.stream.sample_rate_max
    if isinstance(message.sample_rate, int) and not lowest <= message.sample_rate <= highest:
        raise BadMessage(f"sample_rate is {lowest} to {highest} Hz or 'native'", field="sample_rate")
    if message.token is not None and len(message.token) > limits.text.token_chars:
        raise TextTooLong(f"a token has at most {limits.text.token_chars} characters", field="token")
    return message


def encode(event: Event) -> str | bytes:
    """The WebSocket message of an event: bytes are a binary message, a string is a text message."""
    if isinstance(event, AudioChunk):
        return event.pcm
    return _encoder.encode(message_of(event)).decode()


class Teller:
    """The messages of one connection, in order; with `words`, a sentence's end tells when each of them is heard."""

    def __init__(self) -> None:
        self._text = ""  # of the sentence that is being told

    def tell(self, event: Event, *, words: bool) -> str | bytes:
        if isinstance(event, SentenceStarted):
            self._text = event.text
        if words and isinstance(event, SentenceEnded):
            told = [_word(word) for word in word_times(self._text, event.duration_s, event.lead_s)]
            return _encoder.encode({**message_of(event), "words": told}).decode()
        return encode(event)


def _word(word: WordTime) -> dict[str, Any]:
    times = {"start_ms": round(word.start_s * 1000), "end_ms": round(word.end_s * 1000)}
    return {"word": word.word, **times, "begin": word.begin, "end": word.end}


def message_of(event: Event) -> dict[str, Any]:
    """The JSON object of every event but audio."""
    match event:
        case StreamReady(backend, voice, rate, resume):
            ready = {"type": "ready", "protocol": PROTOCOL, "backend": backend, "voice": voice, **_format(rate)}
            return {**ready, **_resume(resume)} if resume else ready
        case FormatChanged(rate):
            return {"type": "format", **_format(rate)}
        case SentenceAccepted(index, text, dropped, spoken):
            accepted = {"type": "sentence", "event": "accepted", "index": index, "text": text}
            tags = {"dropped_tags": dropped} if dropped else {}
            return {**accepted, **tags} if spoken else {**accepted, **tags, "spoken": False}
        case SentenceQueued(position, reason, eta_s):
            queued = {"type": "queued", "position": position, "reason": reason}
            return queued if eta_s is None else {**queued, "eta_ms": round(eta_s * 1000)}
        case SentenceRendering(index, text, queue_depth, worker):
            short = text if len(text) <= SENTENCE_CHARS else text[:SENTENCE_CHARS] + "..."
            said = {"type": "generating", "sentence": short, "queue_depth": queue_depth}
            return {**said, "index": index, "worker": worker}
        case SentenceStarted(index, text, at_s):
            start = {"type": "sentence", "event": "start", "index": index, "text": text}
            return {**start, "at_ms": round(at_s * 1000)}
        case SentenceEnded(index, duration_s, truncated):
            end = {"type": "sentence", "event": "end", "index": index, "duration_ms": round(duration_s * 1000)}
            return {**end, "truncated": True} if truncated else end
        case SentenceResumed(index, exact):
            return {"type": "resumed", "sentence": index, "exact": exact}
        case Problem(error, sentence):
            optional = {"field": error.field, "sentence": sentence, "retry_after_s": error.retry_after_s}
            told = {key: value for key, value in optional.items() if value is not None}
            return {"type": "error", "code": error.code, "msg": error.message, **told}
        case AnswerCancelled(text, heard_ms, delivered_ms):
            heard = {"spoken_text": text, "spoken_ms": heard_ms, "delivered_ms": delivered_ms}
            return {"type": "cancelled", **heard}
        case AnswerDone():
            return {"type": "done"}
    raise TypeError(f"{type(event).__name__} is not a message")


def _resume(offer: ResumeOffer) -> dict[str, Any]:
    told = {"resume": offer.token, "resume_s": offer.wait_s}
    return told if offer.resumed_at is None else {**told, "resumed_at": offer.resumed_at, "received": offer.received}


def _format(sample_rate: int) -> dict[str, Any]:
    return {"sample_rate": sample_rate, "format": AUDIO_FORMAT, "channels": 1}
