"""POST /chat: what a language model answers, token by token, to be spoken as it is written. GET /chat: which model.

Promises: whatever goes wrong before the first token is an honest HTTP error; afterwards exactly one last event, done or
error. A client that leaves or does not read breaks off the model's answer.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from voice_server.core.doors import chat_protocol as protocol
from voice_server.core.errors import VoiceError
from voice_server.gateway.bodies import read_body
from voice_server.gateway.house import House
from voice_server.gateway.llm import Answer
from voice_server.gateway.openapi import told
from voice_server.gateway.security import error_response
from voice_server.gateway.sockets import abort
from voice_server.gateway.speech import unless_gone

_NOBODY_READS = 499  # nginx's status for a client that left
_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no"}


async def about(request: Request) -> Response:
    """Which language model answers, null where POST /chat is an echo, and how many messages of the past it sees."""
    house: House = request.app.state.house
    return JSONResponse({"model": house.writer.name or None, "window": house.limits.chat.window})


@told(body=protocol.ChatRequest, answers=("text/event-stream",))
async def chat(request: Request) -> Response | Told:
    """The language model's answer, token by token; without a model, what was said last."""
    house: House = request.app.state.house
    try:
        asked = await read_body(request, protocol.ChatRequest, house.limits.text)
        protocol.check(asked, house.limits.chat)
        answer = await unless_gone(request, house.writer.begin(asked.messages))
    except VoiceError as error:
        return error_response(error)
    except ClientDisconnect:
        return Response(status_code=_NOBODY_READS)
    return Told(request, answer, house.limits.stream.send_s)


@dataclass(frozen=True, slots=True)
class Told:
    """An ASGI application: an answer as server-sent events."""

    request: Request
    answer: Answer
    patience_s: float  # with a client that does not read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with contextlib.suppress(ClientDisconnect):
                await unless_gone(self.request, self._tell(send))
        except TimeoutError:
            abort(self.request)
        finally:
            await self.answer.aclose()

    async def _tell(self, send: Send) -> None:
        headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        last = protocol.done_event()
        try:
            async for token in self.answer:
                await self._send(send, protocol.token_event(token), more=True)
        except VoiceError as error:
            last = protocol.error_event(error)
        await self._send(send, last, more=False)

    async def _send(self, send: Send, event: bytes, *, more: bool) -> None:
        message = {"type": "http.response.body", "body": event, "more_body": more}
        with anyio.fail_after(self.patience_s):  # not wait_for: before Python 3.12 it may swallow that the client left
            await send(message)
