"""Each request has an id, a door and an end: the id stands in its answer and in every log line on the way.

A client that names its requests by `x-request-id` finds them in our log; what is no plain id is replaced, lest a client
writes lines into it. How each request ended is counted here, since all of them pass.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from voice_server.core.limits import RequestLimits
from voice_server.gateway.security import client_of
from voice_server.gateway.sockets import SEND_AT_ONCE
from voice_server.logs import Request, current
from voice_server.observe.traffic import Traffic

HEADER = "x-request-id"

_PLAIN = re.compile(rf"[A-Za-z0-9._:-]{{1,{RequestLimits().id_chars}}}")
_STARTS = ("http.response.start", "websocket.http.response.start", "websocket.accept")
_METHODS = frozenset({"WS", "GET", "HEAD", "POST", "DELETE", "OPTIONS"})
_NO_DOOR = "none"  # refused before it reached one, or there is none
_log = logging.getLogger(__name__)


def request_id() -> str:
    """Of the request that is being answered; "-" outside of any."""
    return current.get().id


@contextmanager
def answering(request: Request, kind: str, traffic: Traffic) -> Iterator[None]:
    """Everything that is done inside belongs to this request."""
    token = current.set(request)
    traffic.open[kind] += 1
    try:
        yield
    finally:
        traffic.open[kind] -= 1
        traffic.ended[request.door() or _NO_DOOR, request.status, request.code] += 1
        current.reset(token)


class RequestsMiddleware:
    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope)
        request = Request(
            _id_of(given),
            given.get("traceparent", ""),
            lambda: _door_of(scope),
            lambda: client_of(HTTPConnection(scope)),
        )
        answer = _Answer(scope, send, request, self._traffic)
        with answering(request, scope["type"], self._traffic):
            try:
                await self._app(scope, receive, answer.send)
            finally:
                answer.log()


class _Answer:
    """Puts the id into the first message of an answer. The log line holds no query: keys and texts stand there."""

    def __init__(self, scope: Scope, send: Send, request: Request, traffic: Traffic) -> None:
        self._scope = scope
        self._send = send
        self._request = request
        self._traffic = traffic
        self._began = time.monotonic()
        if short_cut := scope.get("extensions", {}).get(SEND_AT_ONCE):
            scope["extensions"][SEND_AT_ONCE] = {"call": self._counting(short_cut["call"])}

    async def send(self, message: Message) -> None:
        if message["type"] in _STARTS:
            self._request.status = str(message.get("status", "left"))  # a socket that nobody closes was left
            message.setdefault("headers", [])
            MutableHeaders(scope=message).setdefault(HEADER, self._request.id)
        elif message["type"] == "websocket.close":
            self._request.status = str(message.get("code", 1000))
        self._traffic.sent_bytes += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
        await self._send(message)

    def log(self) -> None:
        what, path = self._scope.get("method", "WS"), self._scope["path"]
        spent_ms = (time.monotonic() - self._began) * 1000
        extra = {"request_id": self._request.id, "code": self._request.code or None}
        _log.info("%s %r %s %.0f ms", what, path, self._request.status, spent_ms, extra=extra)

    def _counting(self, send_at_once: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
        def send(data: bytes) -> bool:
            is_sent = send_at_once(data)
            self._traffic.sent_bytes += len(data) if is_sent else 0
            return is_sent

        return send


def _id_of(headers: Headers) -> str:
    given = headers.get(HEADER, "")
    return given if _PLAIN.fullmatch(given) else new_id()


def new_id() -> str:
    return secrets.token_hex(8)


def _door_of(scope: Scope) -> str:
    """As the documentation names it: "POST /tts"; "" before it was routed. A label, so no client can invent one."""
    route, method = scope.get("route"), scope.get("method", "WS")
    return f"{method if method in _METHODS else 'OTHER'} {route.path}" if route else ""
