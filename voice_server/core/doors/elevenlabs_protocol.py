"""The table of ElevenLabs' doors: queries, bodies and client messages in; audio, alignments and errors out.

docs/elevenlabs.md says what is answered to what. Unknown keys are ignored: clients send much that means nothing here.
Promises: what comes out of `decode`, `from_query` and `output_format` is within the limits; no message to a client is
larger than clients take.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from voice_server.core.doors.limits import ElevenLabsLimits
from voice_server.core.errors import BadMessage, IdleTimeout, UnknownFormat, UnknownVoice, VoiceError
from voice_server.core.events import Event, SentenceEnded, SentenceStarted
from voice_server.core.limits import Limits
from voice_server.core.options import OptionSpec
from voice_server.core.text.timings import char_times

_LIMITS = ElevenLabsLimits()
_FORMAT = re.compile(r"(pcm|ulaw|alaw|mp3|wav|opus)_([0-9]{4,5})(?:_[0-9]{1,3})?")
_STATUS: dict[type[VoiceError], str] = {UnknownVoice: "voice_not_found", IdleTimeout: "input_timeout_exceeded"}

ContextId = Annotated[str, Meta(min_length=1, max_length=_LIMITS.context_id_chars)]
DEFAULT_CONTEXT = "default"  # of a multi-context message that names none


@dataclass(frozen=True, slots=True)
class OutputFormat:
    codec: str
    sample_rate: int


class VoiceSettings(msgspec.Struct, frozen=True):
    """The rest of them, from stability to style, are knobs of ElevenLabs' own models."""

    speed: float | None = None


class ClientMessage(msgspec.Struct, frozen=True):
    """A WebSocket message, of either door."""

    text: str | None = None
    context_id: ContextId | None = None
    voice_settings: VoiceSettings | None = None
    flush: bool | None = None
    close_context: bool | None = None
    close_socket: bool | None = None


class Query(msgspec.Struct, frozen=True):
    """What stands in the URL. A `model_id` that names a backend picks it; any other name means the default one."""

    model_id: str = ""
    output_format: str = "mp3_44100_128"
    inactivity_timeout: Annotated[float, Meta(gt=0)] = _LIMITS.idle_s
    auto_mode: bool = False  # each text message is a phrase that is complete
    sync_alignment: bool = False


class SpeechRequest(msgspec.Struct, frozen=True):
    """The body of the HTTP doors."""

    text: str
    model_id: str | None = None
    voice_settings: VoiceSettings | None = None
    seed: int | None = None


class _OnlyContext(msgspec.Struct):
    context_id: str = ""


class _OnlyKey(msgspec.Struct):
    xi_api_key: str = ""


_decoder = msgspec.json.Decoder(ClientMessage)
_context_decoder = msgspec.json.Decoder(_OnlyContext)
_key_decoder = msgspec.json.Decoder(_OnlyKey)
_encoder = msgspec.json.Encoder()


# In


def decode(data: str, limits: Limits) -> ClientMessage:
    """Raises BadMessage."""
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as problem:
        raise _refusal(problem, limits) from None
    except (ValueError, RecursionError):
        raise BadMessage("a message is one JSON object, in UTF-8") from None


def context_of(data: str) -> str | None:
    """The context that a refused message is about, as far as it can be read."""
    try:
        return _context_decoder.decode(data).context_id[: _LIMITS.context_id_chars] or None
    except (ValueError, RecursionError):
        return None


def key_of(data: str) -> str:
    """The key in a first message, whatever else may be wrong with it; "" where none can be read."""
    try:
        return _key_decoder.decode(data).xi_api_key
    except (ValueError, RecursionError):
        return ""


def from_query(query: Mapping[str, str], limits: Limits) -> Query:
    """Raises BadMessage."""
    try:
        return msgspec.convert(dict(query), Query, strict=False)
    except msgspec.ValidationError as problem:
        raise _refusal(problem, limits) from None


def _refusal(problem: msgspec.ValidationError, limits: Limits) -> BadMessage:
    """What msgspec says. It may quote the client, at any length and with anything in it."""
    what, _, path = str(problem).partition(" - at `$")
    return BadMessage(what[: limits.text.problem_chars], field=path[: limits.text.problem_chars].strip("`.") or None)


def output_format(name: str, limits: Limits) -> OutputFormat:
    """Of a name like `pcm_24000` or `mp3_44100_128`. Raises UnknownFormat."""
    match = _FORMAT.fullmatch(name)
    lowest, highest = limits.stream.sample_rate_min, limits.stream.sample_rate_max
    if not match or not lowest <= int(match[2]) <= highest:
        raise UnknownFormat(
            f"output_format is pcm, ulaw, alaw, mp3, wav or opus with a rate of {lowest} to {highest}, as in pcm_24000",
            field="output_format",
        )
    return OutputFormat(match[1], int(match[2]))


def options_of(settings: VoiceSettings | None, seed: int | None, specs: Mapping[str, OptionSpec]) -> dict[str, Any]:
    """The options of a render; what the backend has no option for is left out: clients send it to everybody."""
    asked = {"speed": settings.speed if settings else None, "seed": seed}
    return {name: value for name, value in asked.items() if value is not None and name in specs}


# Timing


@dataclass(frozen=True, slots=True)
class Alignment:
    """When each character of a sentence is heard, in seconds from the start of its answer."""

    begin_s: float  # of the sentence
    chars: list[str]
    starts_s: list[float]
    ends_s: list[float]


class Timeline:
    """Puts the sentences of an answer one behind the other."""

    def __init__(self) -> None:
        self._text = ""
        self._begin_s = 0.0

    def take(self, event: Event) -> Alignment | None:
        if isinstance(event, SentenceStarted):
            self._text = event.text
        if not isinstance(event, SentenceEnded):
            return None
        alignment = align(self._text, self._begin_s, event.duration_s, event.lead_s)
        self._begin_s += event.duration_s
        return alignment


def align(text: str, begin_s: float, duration_s: float, lead_s: float = 0.0) -> Alignment:
    """A space without length comes last: clients take a word for complete when they see what ends it."""
    times = [*char_times(text, duration_s, lead_s), (duration_s, 0.0)]
    starts_s = [begin_s + start_s for start_s, _ in times]
    return Alignment(begin_s, [*text, " "], starts_s, [*starts_s[1:], begin_s + duration_s])


# Out: WebSocket messages


def audio_message(data: bytes, context: str | None) -> str:
    return _message({"audio": base64.b64encode(data).decode()}, context)


def alignment_message(alignment: Alignment, context: str | None, *, from_answer: bool) -> str:
    """Times count from the sentence, as ElevenLabs' own do; with `from_answer` from the start of the answer."""
    origin_s = 0.0 if from_answer else alignment.begin_s
    starts, ends = (_milliseconds(times, origin_s) for times in (alignment.starts_s, alignment.ends_s))
    durations = [end - start for start, end in zip(starts, ends, strict=True)]
    told = {"chars": alignment.chars, "charStartTimesMs": starts, "charDurationsMs": durations}
    return _message({"audio": "", "alignment": told, "normalizedAlignment": told, "estimated": True}, context)


def final_message(context: str | None) -> str:
    return _message({"isFinal": True}, context)


def error_message(error: VoiceError, context: str | None) -> str:
    told = {"error": status_of(error), "message": error.message}
    return _encode({**told, **_tag(context)})


def _message(told: dict[str, Any], context: str | None) -> str:
    empty = {"audio": None, "isFinal": None, "alignment": None, "normalizedAlignment": None}
    return _encode({**empty, **told, **_tag(context)})


def _tag(context: str | None) -> dict[str, str]:
    return {} if context is None else {"contextId": context}


def _encode(told: object) -> str:
    return _encoder.encode(told).decode()


def _milliseconds(times_s: list[float], origin_s: float) -> list[int]:
    return [round((time_s - origin_s) * 1000) for time_s in times_s]


# Out: HTTP


def timed_audio(data: bytes, alignment: Alignment | None) -> bytes:
    """An answer, or one line of it, of the doors with timestamps."""
    told = _http_alignment(alignment) if alignment else None
    audio = base64.b64encode(data).decode()
    optional = {"estimated": True} if alignment else {}
    return _encoder.encode({"audio_base64": audio, "alignment": told, "normalized_alignment": told, **optional})


def joined(alignments: list[Alignment]) -> Alignment:
    """All sentences of an answer."""
    return Alignment(
        0.0,
        [char for alignment in alignments for char in alignment.chars],
        [start_s for alignment in alignments for start_s in alignment.starts_s],
        [end_s for alignment in alignments for end_s in alignment.ends_s],
    )


def _http_alignment(alignment: Alignment) -> dict[str, Any]:
    return {
        "characters": alignment.chars,
        "character_start_times_seconds": [round(time_s, 3) for time_s in alignment.starts_s],
        "character_end_times_seconds": [round(time_s, 3) for time_s in alignment.ends_s],
    }


def error_body(error: VoiceError) -> dict[str, Any]:
    told = {"status": status_of(error), "code": error.code, "message": error.message}
    return {"detail": {**told, "param": error.field} if error.field else told}


def error_line(error: VoiceError) -> bytes:
    return _encoder.encode(error_body(error)) + b"\n"


def status_of(error: VoiceError) -> str:
    """ElevenLabs' word for the error where there is one."""
    return _STATUS.get(type(error), error.code)


def describe_voice(name: str, *, is_cloned: bool) -> dict[str, Any]:
    category = "cloned" if is_cloned else "premade"
    return {"voice_id": name, "name": name, "category": category, "labels": {}, "settings": None}


def pieces(data: bytes) -> Iterator[bytes]:
    """Audio in messages that every client takes."""
    step = _LIMITS.audio_bytes
    return (data[start : start + step] for start in range(0, len(data), step))
