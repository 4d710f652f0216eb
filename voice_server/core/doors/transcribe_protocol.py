"""The table of WS `/transcribe`: messages in → commands; what hearings tell → messages out.

Two ways to say the same. In sessions, as a port of voxmlx has it (keys `cmd` and `event`, base64 of f32le at 16 kHz,
several at once), with its error texts; and bare: a start message, binary frames, a stop message, one after the other.
docs/transcribe.md is our own specification. An error that ends a hearing is its last message, and so is `final`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np

from voice_server.core.errors import BadMessage, BadOption, HearingFailed, UnknownFormat, VoiceError
from voice_server.core.limits import Limits
from voice_server.core.text.hearing import AudioDropped, HearingDone, HearingEvent, HearingProblem, Segment, TextHeard

Format = Literal["s16le", "f32le"]
SESSION_RATE = 16_000
_SAMPLE_BYTES = {"s16le": 2, "f32le": 4}
_POLICY = "drop_newest"
_ANY_LANGUAGE = "auto"
_encoder = msgspec.json.Encoder()


# In


class StartSession(msgspec.Struct, frozen=True, tag="start_session", tag_field="cmd"):
    session_id: str
    # Ours
    language: str = ""
    backend: str = ""
    opts: dict[str, Any] = {}


class AudioChunk(msgspec.Struct, frozen=True, tag="audio_chunk", tag_field="cmd"):
    session_id: str
    pcm_b64: str


class StopSession(msgspec.Struct, frozen=True, tag="stop_session", tag_field="cmd"):
    session_id: str


class Start(msgspec.Struct, frozen=True):
    """The bare way begins. What the audio is stands here, and nowhere else."""

    start: Literal[True]
    sample_rate: int = SESSION_RATE
    format: str = "s16le"
    language: str = ""
    backend: str = ""
    opts: dict[str, Any] = {}


class Stop(msgspec.Struct, frozen=True):
    stop: Literal[True]


Command = StartSession | AudioChunk | StopSession | Start | Stop
_COMMANDS: dict[str, type[StartSession] | type[AudioChunk] | type[StopSession]] = {
    "start_session": StartSession,
    "audio_chunk": AudioChunk,
    "stop_session": StopSession,
}


def decode(text: str, limits: Limits) -> Command:
    """Raises BadMessage."""
    try:
        said = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise BadMessage("invalid json") from None
    kind = _kind(said)
    if kind in _COMMANDS.values() and not said.get("session_id"):
        raise BadMessage("missing session_id", field="session_id")
    try:
        command: Command = msgspec.convert(said, kind)
    except msgspec.ValidationError as problem:
        raise BadMessage(str(problem)[: limits.text.problem_chars]) from None
    _check_id(getattr(command, "session_id", ""), limits)
    return command


def _kind(said: Mapping[str, Any]) -> type[Command]:
    """Raises BadMessage."""
    if "cmd" in said:
        found = _COMMANDS.get(said["cmd"]) if isinstance(said["cmd"], str) else None
        if not found:
            raise BadMessage("unknown cmd", field="cmd")
        return found
    if "start" in said or "stop" in said:
        return Start if "start" in said else Stop
    raise BadMessage('a message has a cmd, or is {"start": true, ...} or {"stop": true}')


def _check_id(session_id: str, limits: Limits) -> None:
    most = limits.transcribe.session_id_chars
    if len(session_id) > most:
        raise BadMessage(f"a session_id has at most {most} characters", field="session_id")


def check_start(start: Start, limits: Limits) -> Format:
    """Raises UnknownFormat."""
    lowest, highest = limits.hearing.sample_rate_min, limits.hearing.sample_rate_max
    if not lowest <= start.sample_rate <= highest:
        raise UnknownFormat(f"sample_rate is {lowest} to {highest} Hz", field="sample_rate")
    if start.format == "s16le":
        return "s16le"
    if start.format == "f32le":
        return "f32le"
    raise UnknownFormat(f"the formats are {' and '.join(_SAMPLE_BYTES)}, mono", field="format")


def options_of(
    language: str, opts: Mapping[str, Any], known: Collection[str], languages: Collection[str]
) -> dict[str, Any]:
    """What is asked of an engine that knows these options and languages. Raises BadOption.

    A language is said as a tag such as `en` or `en-GB`; an engine that hears only one has no option for it.
    """
    spoken = _known_language(language, languages) if language not in ("", _ANY_LANGUAGE) else ""
    return ({"language": spoken} if spoken and "language" in known else {}) | dict(opts)


def _known_language(tag: str, languages: Collection[str]) -> str:
    found = next((code for code in (tag, tag.lower(), tag.lower().partition("-")[0]) if code in languages), None)
    if found is None:
        raise BadOption(f"this backend hears {', '.join(sorted(languages))}", field="language")
    return found


def base64_pcm(text: str) -> bytes:
    """The audio of a chunk as PCM s16le. Raises BadMessage."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadMessage("invalid base64", field="pcm_b64") from None
    return to_pcm(data, "f32le", "pcm_b64")


def to_pcm(data: bytes, form: Format, where: str | None = None) -> bytes:
    """As PCM s16le. Raises BadMessage for what cannot be whole samples of sound."""
    size = _SAMPLE_BYTES[form]
    if len(data) % size:
        raise BadMessage(f"invalid audio: {len(data)} bytes are no whole samples of {size}", field=where)
    if form == "s16le":
        return data
    samples = np.frombuffer(data, dtype="<f4")
    if not np.isfinite(samples).all():
        raise BadMessage("invalid audio: it holds samples that are no numbers", field=where)
    pcm: bytes = np.rint(samples.clip(-1.0, 1.0) * 32767).astype("<i2").tobytes()
    return pcm


# Out


def ready(backend: str, languages: Sequence[str], ts_ms: int) -> str:
    """The first message of a socket, whichever way the client will speak."""
    told = {"event": "ready", "type": "ready", "ts_ms": ts_ms}
    return _text({**told, "backend": backend, "languages": list(languages)})


def session_started(session_id: str) -> str:
    return _text({"event": "session_started", "session_id": session_id})


def error(problem: VoiceError, session_id: str | None = None) -> str:
    """One that ends a session names it."""
    named = {"session_id": session_id} if session_id is not None else {}
    told = {"message": problem.message, "code": problem.code, "field": problem.field}
    return _text({"event": "error", "type": "error", **named, **told})


@dataclass(slots=True)
class SessionReplies:
    """What one session is told; it counts its chunks as the client does."""

    session_id: str
    chunks: int = 0
    dropped: int = 0
    is_stopping: bool = False
    _heard_s: float = field(default=0.0)

    def chunk(self, pcm: bytes) -> None:
        self.chunks += 1
        self._heard_s += len(pcm) / 2 / SESSION_RATE

    def to(self, event: HearingEvent) -> str:
        named = {"session_id": self.session_id}
        match event:
            case TextHeard(text, tentative):
                return _text(
                    {"event": "partial", **named, "text": text, "chunk_count": self.chunks, "tentative": tentative}
                )
            case AudioDropped(dropped_s, backlog_s):
                self.dropped += 1
                told = {"queue_depth": self._depth(backlog_s), "dropped_count": self.dropped, "policy": _POLICY}
                return _text({"event": "overload", **named, **told, **_seconds(dropped_s, backlog_s)})
            case HearingDone():
                return _text({"event": "final", **named, **_final(event)})
            case HearingProblem(problem):  # pragma: no branch (mypy proves that there is no other event)
                return error(self._named(problem), self.session_id)

    def _depth(self, backlog_s: float) -> int:
        """How many chunks wait, as far as they are of one length."""
        return round(backlog_s * self.chunks / self._heard_s) if self._heard_s else 0

    def _named(self, problem: VoiceError) -> VoiceError:
        if isinstance(problem, HearingFailed):
            when = "final" if self.is_stopping else "partial"
            return HearingFailed(f"{when} transcribe failed: {problem.message}")
        return problem


def bare_message(event: HearingEvent) -> str:
    """What a client of the bare way is told."""
    match event:
        case TextHeard(text, tentative):
            return _text({"type": "partial", "text": text, "tentative": tentative})
        case AudioDropped(dropped_s, backlog_s):
            return _text({"type": "overload", "policy": _POLICY, **_seconds(dropped_s, backlog_s)})
        case HearingDone():
            return _text({"type": "final", **_final(event)})
        case HearingProblem(problem):  # pragma: no branch (mypy proves that there is no other event)
            return error(problem)


def bare_started(backend: str) -> str:
    return _text({"type": "started", "backend": backend})


def _final(done: HearingDone) -> dict[str, Any]:
    segments = [segment_of(segment) for segment in done.segments]
    return {"text": done.text, "segments": segments, "duration_s": round(done.duration_s, 3)}


def segment_of(segment: Segment) -> dict[str, Any]:
    return {"text": segment.text.strip(), "start_s": round(segment.start_s, 3), "end_s": round(segment.end_s, 3)}


def _seconds(dropped_s: float, backlog_s: float) -> dict[str, float]:
    return {"dropped_s": round(dropped_s, 3), "backlog_s": round(backlog_s, 3)}


def _text(message: dict[str, Any]) -> str:
    return _encoder.encode(message).decode()
