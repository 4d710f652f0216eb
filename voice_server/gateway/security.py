"""The gate: tokens, Origin and Host, the number of connections, and where may be listened without a token.

What each of these means is in `access/`; here they come together, before any door sees a request.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from voice_server.core.errors import TooManyConnections, Unauthorized, VoiceError
from voice_server.core.limits import StreamLimits
from voice_server.gateway.access.keys import choosing_subprotocol, keys_of, says_key_later, shows_key_as_subprotocol
from voice_server.gateway.access.origins import Origins
from voice_server.gateway.access.tokens import Tokens
from voice_server.logs import note

OPEN_PATHS = frozenset({"/health", "/ready"})  # a load balancer has no token
_PAGE_FILES = "/page/"  # nor does a browser before its user was asked
_CLIENT = "voice_server.client"  # of a scope: the name of whose token was shown
# An answer is what its content-type says and nothing else, and no page that holds a key in its address passes it on.
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
_STARTS = ("http.response.start", "websocket.http.response.start")


class InsecureBind(Exception):
    """Listening to the network without a token; `--insecure` says that this is meant."""


def check_bind(host: str, *, is_guarded: bool, insecure: bool) -> None:
    """Raises InsecureBind when everybody on the network could make this machine speak."""
    if not (is_guarded or insecure or _is_loopback(host)):
        raise InsecureBind(
            f"refusing to listen on {host} without a token: set VOICE_SERVER_TOKEN, give --tokens FILE, or say "
            "--insecure if that is meant"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """Says who may come in, and counts connections, in all and per address."""

    def __init__(self, limits: StreamLimits, tokens: Tokens | None = None, origins: Origins | None = None) -> None:
        self._limits = limits
        self._tokens = tokens or Tokens()
        self._origins = origins or Origins()
        self._inside: Counter[str] = Counter()
        self.requests = 0  # HTTP requests being answered

    @property
    def is_guarded(self) -> bool:
        """Whether a token is wanted at all."""
        return self._tokens.are_wanted

    def check(self, connection: HTTPConnection) -> None:
        """Raises Unauthorized, UnknownHost and ForeignOrigin."""
        self._check_token(connection)
        told = connection.headers
        self._origins.check(told.get("host", ""), told.get("origin"), is_guarded=self.is_guarded)

    def check_key(self, connection: HTTPConnection, *keys: str) -> None:
        """One of them has to be a token; its owner is the client from here on. Raises Unauthorized."""
        if not self.is_guarded:
            return
        owner = self._tokens.owner(*keys)
        if owner is None:
            raise Unauthorized("this server wants `Authorization: Bearer <token>`")
        connection.scope[_CLIENT] = owner

    def knows(self, connection: HTTPConnection) -> bool:
        """Whether it may be told everything, at a door that is open to all."""
        return not self.is_guarded or self._tokens.owner(*keys_of(connection)) is not None

    def _check_token(self, connection: HTTPConnection) -> None:
        if _is_open(connection):
            return
        keys = list(keys_of(connection))
        if any(keys) or not says_key_later(connection.scope):
            self.check_key(connection, *keys)

    def enter(self, address: str) -> None:
        """Raises TooManyConnections."""
        if self._inside.total() >= self._limits.connections:
            raise TooManyConnections("the server has all the connections it takes; try again in a second")
        if self._inside[address] >= self._limits.connections_per_address:
            raise TooManyConnections("your address has all the connections it may have; close one or try again later")
        self._inside[address] += 1

    def leave(self, address: str) -> None:
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]


def asks_for_page(connection: HTTPConnection) -> bool:
    """Whether this is a browser that wants `/` as a page; programs get JSON there."""
    scope = connection.scope
    return scope["type"] == "http" and scope["path"] == "/" and "text/html" in connection.headers.get("accept", "")


def _is_open(connection: HTTPConnection) -> bool:
    """Judged by the path that is routed: the one in `connection.url` holds what a client wrote into `Host`."""
    scope = connection.scope
    is_page_file = scope["type"] == "http" and scope["path"].startswith(_PAGE_FILES)
    return scope["path"] in OPEN_PATHS or is_page_file or asks_for_page(connection)


def client_of(connection: HTTPConnection) -> str:
    """Whose budget it is, and who stands in line: the name of the token that was shown, or else the address."""
    return key_name_of(connection) or _address_of(connection)


def key_name_of(connection: HTTPConnection) -> str:
    """The name of the token that was shown; "" of one without a name, and where none is wanted."""
    return str(connection.scope.get(_CLIENT, ""))


def _address_of(connection: HTTPConnection) -> str:
    """Of the client, as connections are counted; "" where it has none."""
    return connection.client.host if connection.client else ""


class GateMiddleware:
    """Refuses before a door sees the request: with an HTTP status, also in a WebSocket handshake."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        address, send = _address_of(connection), _guarded(send)
        try:
            self._gate.check(connection)
            self._gate.enter(address)
        except VoiceError as error:
            await _refuse(error, scope, receive, send)
            return
        await self._inside(address, scope, receive, send)

    async def _inside(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] == "http"
        self._gate.requests += is_request
        try:
            await self._app(scope, receive, choosing_subprotocol(send) if shows_key_as_subprotocol(scope) else send)
        finally:
            self._gate.requests -= is_request
            self._gate.leave(address)


def _guarded(send: Send) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] in _STARTS:
            message.setdefault("headers", [])
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_guarded


async def _refuse(error: VoiceError, scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(error)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


def error_response(error: VoiceError) -> Response:
    """The HTTP answer to an error: its status, and a body with the code a program may rely on."""
    headers = error.retry_headers
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    body = {"error": {"code": error.code, "message": error.message, "field": error.field}}
    return refusal(error, body, headers=headers)


def refusal(
    error: VoiceError, body: object, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The same in the words of another project. It is counted by our code, whatever its client is told."""
    note(error)
    return JSONResponse(body, status or error.http_status, error.retry_headers if headers is None else headers)
