"""Cartesia's doors: WS `/tts/websocket` with contexts side by side, POST `/tts/bytes` for a text.

A context is a talk of its own: an error ends the context that it names, and the others go on. After the last message of
a context nothing of it is sent. core/doors/cartesia_protocol has the messages.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.doors import cartesia_protocol as protocol
from voice_server.core.doors.cartesia_protocol import Generate, Replies
from voice_server.core.doors.limits import CartesiaLimits
from voice_server.core.errors import BadMessage, EmptyText, Overloaded, SlowClient, TextTooLong, VoiceError
from voice_server.core.events import Event, Problem
from voice_server.gateway.audio_bodies import Bare, compressed
from voice_server.gateway.bodies import read_body
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import client_of, refusal
from voice_server.gateway.sockets import abort, send
from voice_server.gateway.speech import Wanted
from voice_server.gateway.streamed_speech import Body, StreamedSpeech
from voice_server.gateway.visits import Speaking, Visit, until_ready
from voice_server.stream.backend import Backend
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Talk

_LIMITS = CartesiaLimits()


def refuse(error: VoiceError) -> Response:
    return refusal(error, protocol.error_body(error))


def _wanted(message: Generate, backend: Backend) -> Wanted:
    voice = protocol.voice_of(message, [*backend.voices, *backend.config.aliases])
    return Wanted(message.transcript, voice, protocol.options_of(message, backend.config.opts))


# WebSocket


async def websocket_speech(websocket: WebSocket) -> None:
    """WS /tts/websocket."""
    house: House = websocket.app.state.house
    try:
        backend = house.backend(websocket.query_params.get("backend", ""))
        await until_ready(backend, house.limits)
    except VoiceError as error:
        await websocket.send_denial_response(refuse(error))
        return
    await websocket.accept()
    host = _Host(websocket, house, backend)
    try:
        await Visit(websocket, house, Speaking(websocket, host.outbox, host)).run()
    finally:
        await host.leave()


@dataclass(frozen=True, slots=True)
class _Refusal(Problem):
    """Of a message whose context is not open."""

    context_id: str | None = None


class _Context:
    def __init__(self, name: str, message: Generate, websocket: WebSocket, house: House, backend: Backend) -> None:
        """Raises what is wrong with the message."""
        format = message.output_format
        self.is_closed = False  # its text is complete
        self.has_failed = False  # what comes for it after that is not heard: who reads nothing would be told for ever
        self._websocket = websocket
        self._replies = Replies(name, format, house.limits, timestamps=bool(message.add_timestamps))
        settings = StreamSettings(sample_rate=format.sample_rate, client=client_of(websocket))
        self.talk = Talk(backend, house.limits, settings, self._send, lambda _: self._replies.is_over)
        wanted = _wanted(message, backend)
        try:
            self.talk.stream.set_voice(wanted.voice)
            self.talk.stream.set_options(wanted.options)
        except VoiceError:
            self.talk.leave()
            raise

    @property
    def is_over(self) -> bool:
        return self._replies.is_over

    def say(self, message: Generate) -> None:
        """Raises what is wrong with the message."""
        stream = self.talk.stream
        if self.is_closed:
            if message.transcript.strip():
                raise BadMessage("this context was ended: its last message did not say that it continues")
            return
        if message.transcript:
            stream.push(message.transcript)
        if message.is_phrase:
            stream.flush()
        if message.flush or not message.continues:
            self.is_closed = not message.continues
            self._replies.expect_end(is_last=self.is_closed, has_part=stream.finish())

    def fail(self, error: VoiceError) -> None:
        self.has_failed = True
        self.talk.outbox.put(Problem(error))

    async def _send(self, event: Event) -> None:
        for message in self._replies.to(event):
            await send(self._websocket, message)


class _Host:
    """The contexts of a socket. `outbox` holds what is of none of them."""

    def __init__(self, websocket: WebSocket, house: House, backend: Backend) -> None:
        self.outbox = Outbox(house.limits.stream)
        self._websocket = websocket
        self._house = house
        self._backend = backend
        self._contexts: dict[str, _Context] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_busy(self) -> bool:
        return bool(self._contexts)

    @property
    def is_speaking(self) -> bool:
        return any(context.talk.stream.is_speaking for context in self._contexts.values())

    async def leave(self) -> None:
        for context in self._contexts.values():
            context.talk.leave()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # In

    def hear(self, text: str) -> None:
        name = protocol.context_of(text)
        if (context := self._find(name)) and context.has_failed:
            return
        try:
            message = protocol.decode(text, self._house.limits)
            if message.cancel:
                self._cancel(name)
            else:
                self._generate(name or uuid.uuid4().hex, message)
        except VoiceError as error:
            if context := self._find(name):
                context.fail(error)
            else:
                self.outbox.put(_Refusal(error, None, name))

    def _find(self, name: str | None) -> _Context | None:
        context = self._contexts.get(name or "")
        return None if context is None or context.is_over else context

    def _cancel(self, name: str | None) -> None:
        """Its name is free at once: some clients go on with it."""
        if context := self._find(name):  # else it has ended by itself
            context.talk.stream.cancel()
            del self._contexts[name or ""]

    def _generate(self, name: str, message: Generate) -> None:
        context = self._find(name) or self._open(name, message)
        context.say(message)

    def _open(self, name: str, message: Generate) -> _Context:
        if not (message.transcript.strip() or message.continues):
            raise EmptyText("there is no text to speak")
        if len(self._contexts) >= _LIMITS.contexts:
            raise Overloaded(f"{_LIMITS.contexts} contexts may be open on one socket; end or cancel one")
        context = _Context(name, message, self._websocket, self._house, self._backend)
        self._contexts[name] = context
        task = asyncio.create_task(self._until_over(name, context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return context

    # Out

    async def _until_over(self, name: str, context: _Context) -> None:
        try:
            await context.talk.over()
        except SlowClient:
            abort(self._websocket)
        except WebSocketDisconnect:
            pass
        finally:
            if self._contexts.get(name) is context:
                del self._contexts[name]

    async def say(self, event: Event) -> None:
        name = event.context_id if isinstance(event, _Refusal) else None
        if isinstance(event, Problem):
            await send(self._websocket, protocol.error_message(event.error, name))

    def is_last(self, event: Event) -> bool:
        return isinstance(event, Problem) and not isinstance(event, _Refusal) and event.error.close_code is not None


# HTTP


@told(body=Generate, query={"backend": "of this server; not of Cartesia"}, answers=("audio/pcm", "audio/wav"))
async def speech_bytes(request: Request) -> Response | StreamedSpeech:
    """Speak a text, as Cartesia's clients ask for it."""
    house: House = request.app.state.house
    try:
        message = await read_body(request, Generate, house.limits.text)
        protocol.check(message, house.limits)
        body = _body(message.output_format)
        if len(message.transcript) > house.limits.text.file_chars:
            raise TextTooLong(f"at most {house.limits.text.file_chars} characters at once", field="transcript")
        backend = house.backend(request.query_params.get("backend", ""))
        await until_ready(backend, house.limits)
    except VoiceError as error:
        return refuse(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this
    settings = StreamSettings(sample_rate=message.output_format.sample_rate, client=client_of(request))
    return StreamedSpeech(request, backend, house.limits, _wanted(message, backend), settings, body, refuse)


def _body(format: protocol.OutputFormat) -> Body:
    """Raises UnknownFormat."""
    if format.container == "mp3":
        return compressed("mp3", format.sample_rate)
    return Bare(format.raw, format.sample_rate, is_wav=format.container == "wav")
