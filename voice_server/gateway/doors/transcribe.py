"""WS `/transcribe`: audio in, text out while it is still coming. The messages are in core/doors/transcribe_protocol.

Promises: each session that was started ends with exactly one message, `final` or an error that names it; and with its
socket, whatever becomes of that: no worker listens for somebody who left.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket

from voice_server.core.doors import transcribe_protocol as protocol
from voice_server.core.doors.transcribe_protocol import AudioChunk, Format, Start, StartSession, Stop, StopSession
from voice_server.core.errors import (
    BackendUnavailable,
    BadMessage,
    Overloaded,
    UnknownSession,
    VoiceError,
)
from voice_server.core.text.hearing import HearingDone, HearingEvent, HearingProblem
from voice_server.gateway.house import House
from voice_server.gateway.letters import Letters
from voice_server.gateway.security import error_response
from voice_server.gateway.visits import Visit, until_ready
from voice_server.stream.hearing import Hearing, HearingSettings
from voice_server.stream.recogniser import Recogniser

_BARE = ""  # the session of the bare way; no client can call one so


async def transcribe(websocket: WebSocket) -> None:
    """Audio in, text out while it is still coming."""
    house: House = websocket.app.state.house
    try:
        recogniser = house.recogniser(websocket.query_params.get("backend", ""))
        await until_ready(recogniser, house.limits)
    except VoiceError as error:  # as an HTTP status: clients show it
        await websocket.send_denial_response(error_response(error))
        return
    await websocket.accept()
    limits = house.limits
    letters = Letters(websocket, protocol.error, send_s=limits.stream.send_s, unread=limits.transcribe.unread)
    letters.put(protocol.ready(recogniser.name, recogniser.languages, round(time.time() * 1000)))
    await Visit(websocket, house, _Listening(letters, _Sessions(house, letters, recogniser))).run()


@dataclass(slots=True, eq=False)
class _Session:
    replies: protocol.SessionReplies
    format: Format
    hearing: Hearing | None = None
    is_over: bool = False


@dataclass(slots=True)
class _Sessions:
    """What one client has started. Raises what is wrong with its messages, and has told it when this returns."""

    house: House
    letters: Letters
    default: Recogniser
    open: dict[str, _Session] = field(default_factory=dict)

    @property
    def is_waiting(self) -> bool:
        """For text of which all audio is there."""
        return any(session.replies.is_stopping for session in self.open.values())

    def take(self, message: str | bytes) -> None:
        session_id = _BARE
        try:
            if isinstance(message, bytes):
                self._bare_audio(message)
                return
            command = protocol.decode(message, self.house.limits)
            session_id = getattr(command, "session_id", _BARE)
            self._do(command)
        except VoiceError as error:
            self._end(session_id)
            self.letters.put(protocol.error(error, session_id or None))

    def close(self) -> None:
        for session_id in list(self.open):
            self._end(session_id)

    # Messages

    def _do(self, command: protocol.Command) -> None:
        match command:
            case StartSession():
                self._start_session(command)
            case AudioChunk(session_id, text):
                session = self._known(session_id)
                pcm = protocol.base64_pcm(text)
                session.replies.chunk(pcm)
                _hear(session, pcm)
            case StopSession(session_id):
                _finish(self._known(session_id))
            case Start():
                self._start_bare(command)
            case Stop():
                _finish(self._bare())

    def _start_session(self, asked: StartSession) -> None:
        if asked.session_id in self.open:  # its error names no session: the one that is open goes on
            self.letters.put(protocol.error(BadMessage("the session is open already", field="session_id")))
            return
        most = self.house.limits.transcribe.sessions
        if len(self.open) >= most:
            raise Overloaded(f"at most {most} sessions are open at once on one socket; stop one first")
        recogniser = self._recogniser(asked.backend)
        options = _options(recogniser, asked.language, asked.opts)
        self.letters.put(protocol.session_started(asked.session_id))
        self._begin(asked.session_id, recogniser, HearingSettings(protocol.SESSION_RATE, options), "f32le")

    def _start_bare(self, asked: Start) -> None:
        if _BARE in self.open:
            raise BadMessage("the hearing before has not ended; wait for its final text", field="start")
        form = protocol.check_start(asked, self.house.limits)
        recogniser = self._recogniser(asked.backend)
        options = _options(recogniser, asked.language, asked.opts)
        self.letters.put(protocol.bare_started(recogniser.name))
        self._begin(_BARE, recogniser, HearingSettings(asked.sample_rate, options), form)

    def _bare_audio(self, data: bytes) -> None:
        session = self._bare()
        _hear(session, protocol.to_pcm(data, session.format))

    # Sessions

    def _recogniser(self, name: str) -> Recogniser:
        """Raises UnknownBackend, BackendUnavailable."""
        found = self.house.recogniser(name) if name else self.default
        if found.pool.ready is None:
            raise BackendUnavailable(f"{found.name} is still loading; try again in a few seconds")
        return found

    def _begin(self, session_id: str, recogniser: Recogniser, settings: HearingSettings, form: Format) -> None:
        session = _Session(protocol.SessionReplies(session_id), form)

        def tell(event: HearingEvent) -> None:
            self._tell(session, event)

        self.open[session_id] = session
        session.hearing = Hearing(recogniser, self.house.limits, settings, tell)

    def _tell(self, session: _Session, event: HearingEvent) -> None:
        session_id = session.replies.session_id
        text = protocol.bare_message(event) if session_id == _BARE else session.replies.to(event)
        if isinstance(event, HearingDone | HearingProblem):
            self.open.pop(session_id, None)
            self.letters.put(text)
        else:
            self.letters.put(text, key=(session, type(event)))

    def _known(self, session_id: str) -> _Session:
        if session_id not in self.open:
            raise UnknownSession("unknown session", field="session_id")
        return self.open[session_id]

    def _bare(self) -> _Session:
        if _BARE not in self.open:
            raise UnknownSession('nothing was started; send {"start": true, "sample_rate": 16000, "format": "s16le"}')
        return self.open[_BARE]

    def _end(self, session_id: str) -> None:
        session = self.open.pop(session_id, None)
        if session and session.hearing:
            session.hearing.close()


def _options(recogniser: Recogniser, language: str, opts: Mapping[str, Any]) -> dict[str, Any]:
    """Raises BadOption."""
    options = protocol.options_of(language, opts, recogniser.config.opts, recogniser.languages)
    recogniser.validate_options(options)
    return options


def _hear(session: _Session, pcm: bytes) -> None:
    if session.hearing:
        session.hearing.hear(pcm)


def _finish(session: _Session) -> None:
    session.replies.is_stopping = True
    if session.hearing:
        session.hearing.finish()


@dataclass(frozen=True, slots=True)
class _Listening:
    """Implements visits.Stay: an open session is not enough to stay, where nothing is said in it. It keeps a worker."""

    letters: Letters
    sessions: _Sessions

    @property
    def is_busy(self) -> bool:
        return bool(self.sessions.open)

    @property
    def is_awaiting(self) -> bool:
        return self.sessions.is_waiting

    def hear(self, data: str | bytes) -> None:
        self.sessions.take(data)

    async def room(self) -> None:
        await self.letters.room()

    async def write(self) -> None:
        try:
            await self.letters.run()
        finally:
            self.sessions.close()

    def part(self, error: VoiceError) -> None:
        self.letters.part(error)

    def leave(self) -> None:
        self.letters.leave()
