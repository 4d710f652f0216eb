"""An HTTP answer that is spoken while it is sent: what the doors that stream a file have in common.

Promises: the status is sent with the first audio, so that whatever goes wrong before is an honest error (a text without
any sound is one too); half a file is never ended like a whole one, its connection is cut; a client that leaves or does
not read stops the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voice_server.core.errors import SlowClient, VoiceError
from voice_server.core.events import AnswerDone, AudioChunk, Event, Problem
from voice_server.core.limits import Limits
from voice_server.gateway.sockets import abort, cut
from voice_server.gateway.speech import Wanted, speak, until_gone
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings

_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # the second keeps nginx from collecting the audio


class Body(Protocol):
    """What a door makes of audio. Its methods are called one after the other, in a thread if they are costly."""

    @property
    def content_type(self) -> str: ...

    @property
    def is_costly(self) -> bool: ...

    def audio(self, pcm: bytes) -> bytes: ...

    def end(self) -> bytes: ...

    def failure(self, error: VoiceError) -> bytes:
        """The last words before the connection is cut."""
        ...


@dataclass(slots=True)
class StreamedSpeech:
    """An ASGI application: return it from a door as its response."""

    request: Request
    backend: Backend
    limits: Limits
    wanted: Wanted
    settings: StreamSettings
    body: Body
    refuse: Callable[[VoiceError], Response]  # the answer to an error before the first audio
    _send: Send | None = None
    _has_begun: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._send = send
        gone = until_gone(self.request)
        try:
            await speak(self.backend, self.limits, self.wanted, self.settings, self._take, gone)
        except SlowClient:
            abort(self.request)
        except VoiceError as error:
            if self._has_begun:
                await self._fail(error)
            else:
                await self.refuse(error)(scope, receive, send)

    async def _take(self, event: Event) -> None:
        match event:
            case AudioChunk(_, pcm):
                await self._say(await self._made(self.body.audio, pcm))
            case Problem(error):
                raise error
            case AnswerDone():
                await self._say(await self._made(self.body.end), more=False)

    async def _made(self, make: Callable[..., bytes], *arguments: bytes) -> bytes:
        if self.body.is_costly:
            return await asyncio.to_thread(make, *arguments)
        return make(*arguments)

    async def _fail(self, error: VoiceError) -> None:
        await self._say(self.body.failure(error))
        cut(self.request)
        await until_gone(self.request)  # uvicorn would complain about an answer without an end

    async def _say(self, data: bytes, *, more: bool = True) -> None:
        assert self._send
        if not self._has_begun:
            self._has_begun = True
            headers = {**_HEADERS, "content-type": self.body.content_type}
            raw = [(name.encode(), value.encode()) for name, value in headers.items()]
            await self._send({"type": "http.response.start", "status": 200, "headers": raw})
        if data or not more:
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
