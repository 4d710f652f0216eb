"""The ports `stt` and `tts`: speech for Erlang's `{packet, 4}`, many sessions side by side.

Promises: every packet is answered as soon as it is read, also while something renders; a session that is stopped, and
a text that another one replaces, say nothing more from then on; an error of one session leaves the others alone.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Generic, Protocol, TypeVar

from voice_server.core.doors import c_port_protocol as protocol
from voice_server.core.doors.c_port_protocol import Command, Commands, Refused, Shutdown, SpeakText
from voice_server.core.doors.transcribe_protocol import (
    SESSION_RATE,
    AudioChunk,
    SessionReplies,
    StartSession,
    StopSession,
    base64_pcm,
    options_of,
)
from voice_server.core.errors import (
    BadMessage,
    EmptyText,
    Overloaded,
    SlowClient,
    UnknownBackend,
    UnknownSession,
    VoiceError,
)
from voice_server.core.events import AudioChunk as Audio
from voice_server.core.events import Event, Problem
from voice_server.core.limits import Limits
from voice_server.core.text.hearing import HearingDone, HearingEvent, HearingProblem
from voice_server.ports.run import Port
from voice_server.ports.stdio import Pipes
from voice_server.stream.backend import Backend
from voice_server.stream.hearing import Hearing, HearingSettings
from voice_server.stream.recogniser import Recogniser
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Talk


def stt_port(limits: Limits) -> Port[Recogniser]:
    return Port(lambda pipes, recogniser: _Ears(pipes, limits, recogniser).serve(), _fail, protocol.error)


def tts_port(limits: Limits) -> Port[Backend]:
    return Port(lambda pipes, backend: _Mouths(pipes, limits, backend).serve(), _fail, protocol.error)


async def _fail(pipes: Pipes, problem: VoiceError) -> None:
    pipes.send(protocol.error(problem))


class _Session(Protocol):
    def close(self) -> None: ...


S = TypeVar("S", bound=_Session)


class _Desk(Generic[S]):
    """What both have in common: packets in, the sessions by their names."""

    commands: Commands

    def __init__(self, pipes: Pipes, limits: Limits) -> None:
        self.pipes = pipes
        self.limits = limits
        self.sessions: dict[str, S] = {}

    async def serve(self) -> None:
        """Until `shutdown`."""
        self.pipes.send(protocol.ready(int(time.time() * 1000)))
        try:
            while self._take(await self.pipes.receive()):
                pass
        finally:
            for session in self.sessions.values():
                session.close()

    def _take(self, body: bytes) -> bool:
        """False: that was goodbye."""
        try:
            command = protocol.decode(body, self.commands, self.limits)
            if isinstance(command, Shutdown):
                self.pipes.send(protocol.bye())
                return False
            self._obey(command)
        except Refused as refused:
            self.pipes.send(protocol.error(refused.error, refused.session_id))
        return True

    def _obey(self, command: StartSession | AudioChunk | StopSession | SpeakText) -> None:
        try:
            self.obey(command)
        except VoiceError as error:
            raise Refused(error, command.session_id) from None

    def obey(self, command: Command) -> None:
        """Raises VoiceError."""
        raise NotImplementedError

    def session(self, name: str) -> S:
        if name not in self.sessions:
            raise UnknownSession("unknown session", field="session_id")
        return self.sessions[name]

    def check_new(self, start: StartSession, backend: str) -> None:
        if start.session_id in self.sessions:
            raise BadMessage("this session has been started and has not ended", field="session_id")
        if len(self.sessions) >= self.limits.ports.sessions:
            raise Overloaded(f"at most {self.limits.ports.sessions} sessions are open at once")
        if start.backend not in ("", backend):
            raise UnknownBackend(f"this port was started for {backend}", field="backend")


class _Ears(_Desk["_Ear"]):
    """Sessions that are heard. A session is over with its `final`, or with the error that takes its place."""

    commands = protocol.HEARING

    def __init__(self, pipes: Pipes, limits: Limits, recogniser: Recogniser) -> None:
        super().__init__(pipes, limits)
        self.recogniser = recogniser

    def obey(self, command: Command) -> None:
        match command:
            case StartSession(name):
                self.check_new(command, self.recogniser.name)
                ear = _Ear(self, command)
                if not ear.is_over:
                    self.sessions[name] = ear
                    self.pipes.send(protocol.session_started(name))
            case AudioChunk(name, pcm_b64):
                self.session(name).hear(base64_pcm(pcm_b64))
            case StopSession(name):
                self.session(name).stop()


class _Ear:
    def __init__(self, ears: _Ears, start: StartSession) -> None:
        self.is_over = False
        self._ears = ears
        self._replies = SessionReplies(start.session_id)
        heard = ears.recogniser
        options = options_of(start.language, start.opts, heard.config.opts, heard.languages)
        self._hearing = Hearing(heard, ears.limits, HearingSettings(SESSION_RATE, options), self._tell)

    def hear(self, pcm: bytes) -> None:
        self._replies.chunk(pcm)
        self._hearing.hear(pcm)

    def stop(self) -> None:
        self._replies.is_stopping = True
        self._hearing.finish()

    def close(self) -> None:
        self._hearing.close()

    def _tell(self, event: HearingEvent) -> None:
        if isinstance(event, HearingDone | HearingProblem):
            self.is_over = True
            self._ears.sessions.pop(self._replies.session_id, None)
        self._ears.pipes.send(self._replies.to(event).encode())


class _Mouths(_Desk["_Mouth"]):
    """Sessions that speak. Each text ends with `session_done`, after its errors, unless it was stopped or replaced."""

    commands = protocol.SPEAKING

    def __init__(self, pipes: Pipes, limits: Limits, backend: Backend) -> None:
        super().__init__(pipes, limits)
        self.backend = backend

    def obey(self, command: Command) -> None:
        match command:
            case StartSession(name):
                self.check_new(command, self.backend.name)
                self.sessions[name] = _Mouth(self, command)
                self.pipes.send(protocol.session_started(name))
            case SpeakText(name):
                self.session(name).speak(command)
            case StopSession(name):
                self.session(name).close()
                del self.sessions[name]
                self.pipes.send(protocol.session_stopped(name))


class _Mouth:
    def __init__(self, mouths: _Mouths, start: StartSession) -> None:
        self._mouths = mouths
        self._options = ({"language": start.language} if start.language else {}) | start.opts
        self._speech: _Speech | None = None
        mouths.backend.validate_options(self._options)

    def speak(self, said: SpeakText) -> None:
        """In the place of what it still says. Raises VoiceError; then that goes on."""
        speech = _Speech(self._mouths, said, self._options) if said.text.strip() else None
        self.close()
        self._speech = speech
        if speech is None:
            self._mouths.pipes.send(protocol.session_done(said.session_id))

    def close(self) -> None:
        if self._speech:
            self._speech.leave()


class _Speech:
    """One text of a session. Its chunks count from 0."""

    def __init__(self, mouths: _Mouths, said: SpeakText, options: dict[str, Any]) -> None:
        self._name = said.session_id
        self._pipes = mouths.pipes
        self._rate = mouths.backend.sample_rate or mouths.limits.stream.sample_rate
        self._chunks = 0
        self._talk = Talk(mouths.backend, mouths.limits, StreamSettings(sample_rate=self._rate), self._send)
        try:
            self._talk.stream.set_voice(said.voice or "")
            self._talk.stream.set_options(options if said.speed is None else {**options, "speed": said.speed})
            self._talk.stream.push(said.text)
            self._talk.stream.finish()
        except VoiceError:
            self._talk.leave()
            raise
        self._ending = asyncio.create_task(self._end())

    def leave(self) -> None:
        self._ending.cancel()  # first: no `session_done` of a text that is over already
        self._talk.leave()

    async def _send(self, event: Event) -> None:
        if isinstance(event, Audio):
            self._pipes.send(protocol.audio_chunk(self._name, self._chunks, event.pcm, self._rate))
            self._chunks += 1
            await self._pipes.drain()
        elif isinstance(event, Problem) and not isinstance(event.error, EmptyText):
            self._pipes.send(protocol.error(event.error, self._name))

    async def _end(self) -> None:
        try:
            await self._talk.over()
        except SlowClient as problem:
            self._pipes.send(protocol.error(problem, self._name))
        self._pipes.send(protocol.session_done(self._name))
