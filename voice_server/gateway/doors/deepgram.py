"""Deepgram's doors: WS `/v1/speak` for an agent's tokens, POST `/v1/speak` for a text."""

from __future__ import annotations

from collections import deque

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from voice_server.core.doors import deepgram_protocol as protocol
from voice_server.core.doors.deepgram_protocol import Clear, Close, Flush, Query, Sound, Speak, SpeakRequest
from voice_server.core.errors import TextTooLong, UnknownVoice, VoiceError
from voice_server.core.events import AnswerCancelled, AnswerDone, Event, Problem
from voice_server.gateway.audio_bodies import Bare, compressed
from voice_server.gateway.bodies import read_body
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.requests import request_id
from voice_server.gateway.security import client_of, refusal
from voice_server.gateway.speech import Wanted
from voice_server.gateway.streamed_speech import Body, StreamedSpeech
from voice_server.gateway.visits import Speaking, Visit, until_ready
from voice_server.stream.backend import Backend
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings

_QUERY = {
    "model": "a voice; any other name is the default voice",
    "encoding": "mp3",
    "container": "",
    "sample_rate": "",
}


def refuse(error: VoiceError) -> Response:
    return refusal(error, protocol.error_body(error, request_id()))


async def _backend_of(query: Query, house: House) -> tuple[Backend, str]:
    """Who speaks, and in which voice: clients must name a model of Deepgram, which is no voice of ours."""
    backend = house.backend(query.backend)
    await until_ready(backend, house.limits)
    try:
        backend.resolve_voice(query.model)
    except UnknownVoice:
        return backend, ""
    return backend, query.model


# WebSocket


async def speak_stream(websocket: WebSocket) -> None:
    """WS /v1/speak: text in, bare audio out, until Close."""
    house: House = websocket.app.state.house
    outbox = Outbox(house.limits.stream)
    try:
        query = protocol.from_query(websocket.query_params, house.limits)
        sound = protocol.streamed_sound(query, house.limits)
        backend, voice = await _backend_of(query, house)
        settings = StreamSettings(sample_rate=sound.sample_rate, client=client_of(websocket))
        stream = Stream(backend, outbox, house.limits, settings)
        try:
            stream.set_voice(voice)
            stream.set_options(protocol.options_of(query, backend.config.opts))
            await websocket.accept()
            await websocket.send_text(protocol.metadata(request_id(), backend.resolve_voice(voice)))
            host = _Host(websocket, house, stream, sound)
            await Visit(websocket, house, Speaking(websocket, outbox, host)).run()
        finally:
            stream.close()
    except VoiceError as error:  # as an HTTP status: clients show it
        await websocket.send_denial_response(refuse(error))


class _Host:
    def __init__(self, websocket: WebSocket, house: House, stream: Stream, sound: Sound) -> None:
        self._websocket = websocket
        self._limits = house.limits
        self._stream = stream
        self._replies = protocol.Replies(sound.encoding, house.limits)
        # Of each answer that was flushed, how many wait for their Flushed; 0 is a cancellation: it drops those before.
        self._flushes: deque[int] = deque()
        self._is_closing = False

    @property
    def is_busy(self) -> bool:
        return self._stream.is_busy

    @property
    def is_speaking(self) -> bool:
        return self._stream.is_speaking

    def hear(self, text: str) -> None:
        if self._is_closing:
            return
        match protocol.decode(text, self._limits):
            case Speak(words):
                self._stream.push(words)
            case Flush():
                if self._stream.finish():
                    self._flushes.append(0)
                self._flushes[-1] += 1
            case Clear():
                self._cancel()
            case Close():
                self._close()

    def _cancel(self) -> None:
        self._flushes.append(0)
        self._stream.cancel()

    def _close(self) -> None:
        """What was flushed is still spoken: programs send Speak, Flush and Close, and only then listen."""
        self._is_closing = True
        if not any(self._flushes):
            self._cancel()

    async def say(self, event: Event) -> None:
        flushes = self._flushes.popleft() if isinstance(event, AnswerDone) else 1
        if isinstance(event, AnswerCancelled):
            while self._flushes.popleft():
                pass
            if self._is_closing:
                return
        for message in [message for _ in range(flushes) for message in self._replies.to(event)]:
            if isinstance(message, bytes):
                await self._websocket.send_bytes(message)
            else:
                await self._websocket.send_text(message)

    def is_last(self, event: Event) -> bool:
        if isinstance(event, Problem):
            return event.error.close_code is not None
        return self._is_closing and not self._flushes and isinstance(event, AnswerDone | AnswerCancelled)


# HTTP


@told(body=SpeakRequest, query=_QUERY, answers=("audio/mpeg", "audio/wav"))
async def speak_file(request: Request) -> Response | StreamedSpeech:
    """Speak a text, as Deepgram's clients ask for it."""
    house: House = request.app.state.house
    try:
        query = protocol.from_query(request.query_params, house.limits)
        sound = protocol.file_sound(query, house.limits)
        body = _body(sound)
        asked = await read_body(request, SpeakRequest, house.limits.text)
        if len(asked.text) > house.limits.text.file_chars:
            raise TextTooLong(f"at most {house.limits.text.file_chars} characters at once", field="text")
        backend, voice = await _backend_of(query, house)
    except VoiceError as error:
        return refuse(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this
    wanted = Wanted(asked.text, voice, protocol.options_of(query, backend.config.opts))
    settings = StreamSettings(sample_rate=sound.sample_rate, client=client_of(request))
    return StreamedSpeech(request, backend, house.limits, wanted, settings, body, refuse)


def _body(sound: Sound) -> Body:
    """Raises UnknownFormat."""
    if sound.encoding in protocol.RAW:
        return Bare(protocol.RAW[sound.encoding], sound.sample_rate, is_wav=sound.container == "wav")
    return compressed(sound.encoding, sound.sample_rate)
