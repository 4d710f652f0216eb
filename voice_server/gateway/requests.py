"""The id of a request: taken from the client or made here, told in the answer, and in every log line on the way.

A client that names its requests by `x-request-id` finds them in our log; what is no plain id is replaced, lest a client
writes lines into it.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voice_server.core.limits import RequestLimits

HEADER = "x-request-id"

_PLAIN = re.compile(rf"[A-Za-z0-9._:-]{{1,{RequestLimits().id_chars}}}")
_STARTS = ("http.response.start", "websocket.http.response.start", "websocket.accept")
_NONE = "-"
_current: ContextVar[str] = ContextVar("request_id", default=_NONE)
_log = logging.getLogger(__name__)


def request_id() -> str:
    """Of the request that is being answered; "-" outside of any. Tasks that it starts belong to it."""
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Gives every record its `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id()
        return True


class RequestIdMiddleware:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        token = _current.set(_id_of(scope))
        answer = _Answer(scope, send)
        try:
            await self._app(scope, receive, answer.send)
        finally:
            answer.log()
            _current.reset(token)


class _Answer:
    """Puts the id into the first message of an answer. The log line holds no query: keys and texts stand there."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._status = "left"
        self._began = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self._status = str(message.get("status", "open"))
            message.setdefault("headers", [])
            MutableHeaders(scope=message).setdefault(HEADER, request_id())
        await self._send(message)

    def log(self) -> None:
        what, path = self._scope.get("method", "WS"), self._scope["path"]
        _log.info("%s %r %s %.0f ms", what, path, self._status, (time.monotonic() - self._began) * 1000)


def _id_of(scope: Scope) -> str:
    given = Headers(scope=scope).get(HEADER, "")
    return given if _PLAIN.fullmatch(given) else secrets.token_hex(8)
