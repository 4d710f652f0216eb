"""WS `/tts`: whole texts, several at once on one socket. The messages are in core/doors/voxcpm_tts_protocol.

Promises: each request that was taken gets exactly one last message, and no audio after it; a client that leaves, and
a cancelled request, stop their engines within one chunk.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.doors import voxcpm_tts_protocol as protocol
from voice_server.core.doors.voxcpm_tts_protocol import Cancel, Ping, Refusal, Replies, TtsRequest
from voice_server.core.errors import BadOption, GoingAway, SlowClient, VoiceError
from voice_server.core.events import Event, Problem
from voice_server.gateway.doors.voxcpm_api import categories
from voice_server.gateway.house import House
from voice_server.gateway.prompts import PROMPT, Prompt
from voice_server.gateway.security import client_of
from voice_server.gateway.sockets import POLICY_VIOLATION, abort, close, say_and_close, send
from voice_server.gateway.speech import Wanted, speak, unless
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings

_log = logging.getLogger(__name__)

_TIMEOUT = "TIMEOUT"


async def voxcpm_tts(websocket: WebSocket) -> None:
    """Whole texts, several at once, for clients of the VoxCPM TTS server."""
    house: House = websocket.app.state.house
    await websocket.accept()
    try:
        backend = house.backend(websocket.query_params.get("backend", ""))
    except VoiceError as error:
        await say_and_close(websocket, protocol.encode_error(error, None), POLICY_VIOLATION)
    else:
        with house.metrics.voxcpm.connection():
            await _Client(websocket, house, backend).run()


class _Client:
    """A connected socket: the caller's task reads it, each request has a task of its own that writes."""

    def __init__(self, websocket: WebSocket, house: House, backend: Backend) -> None:
        self.house = house
        self.backend = backend
        self.name = client_of(websocket)
        self._websocket = websocket
        self._open: dict[str, _Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        self.house.guests.add(self)
        try:
            while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
                await self._take(message.get("text"))
        finally:
            for request in self._open.values():
                request.leave()
            if self._tasks:
                await asyncio.wait(self._tasks)
            if self.house.prompts:
                await self.house.prompts.forget(self)
            self.house.guests.discard(self)

    # Guest

    @property
    def is_busy(self) -> bool:
        return bool(self._open)

    def go_away(self) -> None:
        for request in self._open.values():
            request.leave(GoingAway("the server is shutting down; connect again"))
        if not self._open:
            self._start(self._close())

    # Reading

    async def _take(self, data: str | None) -> None:
        try:
            takes_urls = self.house.prompts is not None
            message = protocol.decode(data, self.house.limits.voxcpm_tts, takes_urls=takes_urls)
            if isinstance(message, Ping):
                await self.say(protocol.encode_pong(message, time.time()))
            elif isinstance(message, Cancel):
                self._cancel(message.request_id)
            else:
                self._begin(message)
        except Refusal as refusal:
            await self._say_error(refusal, refusal.request_id)

    def _begin(self, wanted: TtsRequest) -> None:
        name = wanted.request_id
        if name in self._open:
            told = "this request_id belongs to a request that is still open"
            raise Refusal("INVALID_PARAMS", told, name, {"request_id": told})
        most = self.house.limits.voxcpm_tts.requests
        if len(self._open) >= most:
            raise Refusal("RATE_LIMITED", f"{most} requests may be open at once on a connection", name)
        request = self._open[name] = _Request(self, wanted)
        self._start(self._attend(request, name))

    def _cancel(self, name: str) -> None:
        if name not in self._open:
            raise Refusal("REQUEST_NOT_FOUND", "no request with this id is open on this connection", name)
        self._open[name].cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Writing

    async def _attend(self, request: _Request, name: str) -> None:
        """A request until its last message, whatever happens to it."""
        speaking = asyncio.create_task(request.run())
        await asyncio.wait([speaking])
        problem = speaking.exception()
        if problem:
            await self._tell(problem, name)
        request.count(problem)
        del self._open[name]
        if self.house.is_draining and not self._open:
            await self._close()

    async def _tell(self, problem: BaseException, name: str) -> None:
        if isinstance(problem, SlowClient):
            abort(self._websocket)
        elif not isinstance(problem, WebSocketDisconnect):
            if not isinstance(problem, VoiceError):
                _log.error("a request failed", exc_info=problem)
            await self._say_error(problem, name)

    async def _say_error(self, problem: BaseException, name: str | None) -> None:
        self.house.metrics.voxcpm.error(protocol.code_of(problem))
        await self.say(protocol.encode_error(problem, name))

    async def say(self, message: str | bytes, patience_s: float = 0.0) -> None:
        """One message outside a stream; who has not read it after a while is cut off."""
        try:
            await asyncio.wait_for(self.send(message), self.house.limits.stream.send_s + patience_s)
        except asyncio.TimeoutError:
            abort(self._websocket)
        except WebSocketDisconnect:
            pass

    async def send(self, message: str | bytes) -> None:
        await send(self._websocket, message)

    async def _close(self) -> None:
        await close(self._websocket, GoingAway.close_code or POLICY_VIOLATION)


class _Request:
    def __init__(self, client: _Client, wanted: TtsRequest) -> None:
        self._client = client
        self._wanted = wanted
        self._left = asyncio.Event()
        self._why: VoiceError | None = None
        self._is_cancelled = False
        self._is_complete = False
        self._began_at = time.monotonic()
        rate = client.backend.sample_rate or client.house.limits.stream.sample_rate
        self._settings = StreamSettings(wanted.mode == protocol.STREAMING, rate, client=client.name)
        self._replies = Replies(wanted, rate)

    def cancel(self) -> None:
        self._is_cancelled = True
        self._left.set()

    def leave(self, why: VoiceError | None = None) -> None:
        """Stop. The client hears `why`; None: it is not there any more."""
        self._why = why
        self._left.set()

    async def run(self) -> None:
        """Raises what the client has to be told."""
        has_spoken = await self._speak_in_time()
        if self._is_cancelled:
            await self._client.say(self._replies.cancelled())
        elif has_spoken:
            self._is_complete = True
            for message in self._replies.ended():
                await self._client.say(message, self._replies.duration_s)
        elif self._why:
            raise self._why

    def count(self, problem: BaseException | None) -> None:
        """It has ended. A client that left cancelled its requests."""
        failed = problem is not None and not isinstance(problem, (SlowClient, WebSocketDisconnect))
        status = "failed" if failed else "completed" if self._is_complete else "cancelled"
        seconds = time.monotonic() - self._began_at
        self._client.house.metrics.voxcpm.request(self._wanted.mode, status, seconds, self._replies.duration_s)

    async def _speak_in_time(self) -> bool:
        limit_s = self._client.house.limits.voxcpm_tts.request_s
        try:
            return await asyncio.wait_for(self._speak(), limit_s)
        except asyncio.TimeoutError:
            raise Refusal(_TIMEOUT, f"the audio was not complete after {limit_s:g} s") from None

    async def _speak(self) -> bool:
        backend, wanted = self._client.backend, self._wanted
        told, ignored = protocol.options_for(wanted, backend.config.opts)
        await self._client.say(self._replies.accepted(ignored))
        if wanted.prompt_url:
            return await self._speak_as_recorded(Prompt(wanted.prompt_url, wanted.params.get("prompt_text", "")), told)
        voice = protocol.voice_name(wanted.voice_id, backend.voices, categories(backend))
        return await self._speak_as(backend, voice, told)

    async def _speak_as_recorded(self, prompt: Prompt, options: dict[str, Any]) -> bool:
        backend, prompts = self._client.backend, self._client.house.prompts
        assert prompts is not None
        if backend.pool.ready and not backend.pool.ready.can_clone:
            raise BadOption(f"the backend {backend.name} has its own voices only", field="prompt_wav_url")
        async with prompts.holding(self._client, prompt) as held:
            try:
                store = await unless(self._until_left(), prompts.store(held))
            except ClientDisconnect:
                return False
            return await self._speak_as(backend.with_voices(store), PROMPT, options)

    async def _speak_as(self, backend: Backend, voice: str, options: dict[str, Any]) -> bool:
        said = Wanted(self._wanted.text, voice, options)
        return await speak(backend, self._client.house.limits, said, self._settings, self._send, self._until_left())

    async def _send(self, event: Event) -> None:
        if isinstance(event, Problem):
            raise event.error
        for message in self._replies.on(event):
            await self._client.send(message)

    async def _until_left(self) -> None:
        await self._left.wait()
