"""The table of the ports `stt` and `tts`: packets of JSON in → commands; what is heard or spoken → packets out.

It is the protocol of the Python workers that voxmlx drives through Erlang ports. What is heard is told in the words of
WS `/transcribe` (transcribe_protocol). An error names its session wherever one was named; its `code` says what it
means: `bad_message`, `bad_option`, `unknown_*` and `text_too_long` refuse one command and change nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from voice_server.core.audio.raw_formats import to_raw
from voice_server.core.doors.transcribe_protocol import AudioChunk, StartSession, StopSession
from voice_server.core.errors import BadMessage, VoiceError
from voice_server.core.limits import Limits

_encoder = msgspec.json.Encoder()


class SpeakText(msgspec.Struct, frozen=True, tag="speak_text", tag_field="cmd"):
    session_id: str
    text: str
    voice: str | None = None
    speed: float | None = None


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown", tag_field="cmd"):
    """Its session_id is "_", and of no meaning."""


Command = StartSession | AudioChunk | StopSession | SpeakText | Shutdown
Commands = Mapping[str, type[Command]]

HEARING: Commands = {
    "start_session": StartSession,
    "audio_chunk": AudioChunk,
    "stop_session": StopSession,
    "shutdown": Shutdown,
}
SPEAKING: Commands = {
    "start_session": StartSession,
    "speak_text": SpeakText,
    "stop_session": StopSession,
    "shutdown": Shutdown,
}


class Refused(Exception):
    """One command was not obeyed. `session_id`: the one it named, if it did."""

    def __init__(self, error: VoiceError, session_id: str | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.session_id = session_id


# In


def decode(body: bytes, commands: Commands, limits: Limits) -> Command:
    """Raises Refused."""
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise Refused(BadMessage("invalid json")) from None
    name = said.get("cmd")
    kind = commands.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Refused(BadMessage("unknown cmd", field="cmd"), _known_id(said, limits))
    if kind is not Shutdown and not said.get("session_id"):
        raise Refused(BadMessage("missing session_id", field="session_id"))
    return _converted(said, kind, limits)


def _converted(said: dict[str, Any], kind: type[Command], limits: Limits) -> Command:
    session_id = _known_id(said, limits)
    if kind is not Shutdown and session_id is None:
        most = limits.ports.session_id_chars
        raise Refused(BadMessage(f"a session_id is text of 1 to {most} characters", field="session_id"))
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError as problem:
        raise Refused(BadMessage(str(problem)[: limits.text.problem_chars]), session_id) from None


def _known_id(said: Mapping[str, Any], limits: Limits) -> str | None:
    """What an answer may name the session by."""
    given = said.get("session_id")
    return given if isinstance(given, str) and 0 < len(given) <= limits.ports.session_id_chars else None


# Out


def ready(ts_ms: int) -> bytes:
    return _event("ready", ts_ms=ts_ms)


def session_started(session_id: str) -> bytes:
    return _event("session_started", session_id=session_id)


def audio_chunk(session_id: str, seq: int, pcm: bytes, sample_rate: int) -> bytes:
    """`pcm` is s16le."""
    told = {"pcm_b64": base64.b64encode(to_raw(pcm, "pcm_f32le")).decode(), "sample_rate": sample_rate}
    return _event("audio_chunk", session_id=session_id, seq=seq, **told, channels=1, format="f32le")


def session_done(session_id: str) -> bytes:
    return _event("session_done", session_id=session_id)


def session_stopped(session_id: str) -> bytes:
    return _event("session_stopped", session_id=session_id)


def error(problem: VoiceError, session_id: str | None = None) -> bytes:
    named = {} if session_id is None else {"session_id": session_id}
    return _event("error", **named, message=problem.message, code=problem.code)


def bye() -> bytes:
    return _event("bye")


def _event(name: str, **told: Any) -> bytes:
    return _encoder.encode({"event": name, **told})
