"""Who may come in: the token, the number of connections, and which addresses may be listened on without a token.

The token is taken wherever the clients of other projects put their key: see `keys_of`.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections import Counter
from collections.abc import Iterator

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from voice_server.core.errors import TooManyConnections, Unauthorized, VoiceError
from voice_server.core.limits import StreamLimits

_OPEN_PATHS = frozenset({"/health"})  # a load balancer has no token
_PAGE_FILES = "/page/"  # nor does a browser before its user was asked
_RETRY_AFTER_S = "1"
_SCHEMES = ("bearer", "token")  # of the header Authorization; the second is Deepgram's
_KEY_HEADERS = ("xi-api-key", "x-api-key")  # ElevenLabs, Cartesia
_KEY_QUERIES = ("api_key", "xi-api-key")  # browsers cannot set headers of a WebSocket
_KEY_SUBPROTOCOL = "token"  # Deepgram in browsers: `Sec-WebSocket-Protocol: token, KEY`
# Clients of ElevenLabs may say their key in the first message. Who shows none is let in, and that door asks for it.
_KEY_IN_MESSAGE = re.compile(r"/v1/text-to-speech/[^/]+/(multi-)?stream-input")


class InsecureBind(Exception):
    """Listening to the network without a token; `--insecure` says that this is meant."""


def check_bind(host: str, token: str, *, insecure: bool) -> None:
    """Raises InsecureBind when everybody on the network could make this machine speak."""
    if not (token or insecure or _is_loopback(host)):
        raise InsecureBind(
            f"refusing to listen on {host} without a token: set VOICE_SERVER_TOKEN, or say --insecure if that is meant"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """Checks the token and counts connections, in all and per address."""

    def __init__(self, limits: StreamLimits, token: str) -> None:
        self._limits = limits
        self._digest = _digest(token) if token else None
        self._inside: Counter[str] = Counter()
        self.requests = 0  # HTTP requests being answered

    @property
    def is_guarded(self) -> bool:
        """Whether a token is wanted at all."""
        return self._digest is not None

    def check_token(self, connection: HTTPConnection) -> None:
        """Raises Unauthorized."""
        if _is_open(connection):
            return
        keys = list(keys_of(connection))
        if any(keys) or not _says_key_later(connection.scope):
            self.check_key(*keys)

    def check_key(self, *keys: str) -> None:
        """One of them has to be the token. Raises Unauthorized."""
        if self._digest is None:
            return
        right = [hmac.compare_digest(_digest(key), self._digest) for key in keys]
        if not any(right):
            raise Unauthorized("this server wants `Authorization: Bearer <token>`")

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


def keys_of(connection: HTTPConnection) -> Iterator[str]:
    """All keys that a client showed."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() in _SCHEMES:
        yield key.strip()
    yield from (connection.headers[name] for name in _KEY_HEADERS if name in connection.headers)
    yield from (connection.query_params[name] for name in _KEY_QUERIES if name in connection.query_params)
    if _shows_key_as_subprotocol(connection.scope):
        yield connection.scope["subprotocols"][1]


def asks_for_page(connection: HTTPConnection) -> bool:
    """Whether this is a browser that wants `/` as a page; programs get JSON there."""
    scope = connection.scope
    return scope["type"] == "http" and scope["path"] == "/" and "text/html" in connection.headers.get("accept", "")


def _is_open(connection: HTTPConnection) -> bool:
    """Judged by the path that is routed: the one in `connection.url` holds what a client wrote into `Host`."""
    scope = connection.scope
    is_page_file = scope["type"] == "http" and scope["path"].startswith(_PAGE_FILES)
    return scope["path"] in _OPEN_PATHS or is_page_file or asks_for_page(connection)


def _says_key_later(scope: Scope) -> bool:
    return scope["type"] == "websocket" and _KEY_IN_MESSAGE.fullmatch(scope["path"]) is not None


def _shows_key_as_subprotocol(scope: Scope) -> bool:
    offered = scope.get("subprotocols", [])
    return len(offered) == 2 and offered[0] == _KEY_SUBPROTOCOL


def address_of(connection: HTTPConnection) -> str:
    """Of the client, as connections are counted; "" where it has none."""
    return connection.client.host if connection.client else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


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
        address = address_of(connection)
        try:
            self._gate.check_token(connection)
            self._gate.enter(address)
        except VoiceError as error:
            await _refuse(error, scope, receive, send)
            return
        await self._inside(address, scope, receive, send)

    async def _inside(self, address: str, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = scope["type"] == "http"
        self._gate.requests += is_request
        try:
            await self._app(scope, receive, _choosing_subprotocol(send) if _shows_key_as_subprotocol(scope) else send)
        finally:
            self._gate.requests -= is_request
            self._gate.leave(address)


def _choosing_subprotocol(send: Send) -> Send:
    """A browser that offered subprotocols drops a connection for which none was chosen."""

    async def choose(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": _KEY_SUBPROTOCOL}
        await send(message)

    return choose


async def _refuse(error: VoiceError, scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(error)
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


def error_response(error: VoiceError) -> Response:
    """The HTTP answer to an error: its status, and a body with the code a program may rely on."""
    body = {"error": {"code": error.code, "message": error.message, "field": error.field}}
    headers = {"retry-after": _RETRY_AFTER_S} if error.http_status == 503 else {}
    if isinstance(error, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(body, status_code=error.http_status, headers=headers)
