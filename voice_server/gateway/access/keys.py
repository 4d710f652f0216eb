"""Where the clients of this and other projects show their key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from starlette.requests import HTTPConnection
from starlette.types import Message, Scope, Send

_SCHEMES = ("bearer", "token")  # of the header Authorization; the second is Deepgram's
_KEY_HEADERS = ("xi-api-key", "x-api-key")  # ElevenLabs, Cartesia
_KEY_QUERIES = ("api_key", "xi-api-key")  # browsers cannot set headers of a WebSocket
_KEY_SUBPROTOCOL = "token"  # Deepgram in browsers: `Sec-WebSocket-Protocol: token, KEY`
# Clients of ElevenLabs may say their key in the first message. Who shows none is let in as a stranger.
_KEY_IN_MESSAGE = re.compile(r"/v1/text-to-speech/[^/]+/(multi-)?stream-input")


def keys_of(connection: HTTPConnection) -> Iterator[str]:
    """All keys that a client showed."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() in _SCHEMES:
        yield key.strip()
    yield from (connection.headers[name] for name in _KEY_HEADERS if name in connection.headers)
    yield from (connection.query_params[name] for name in _KEY_QUERIES if name in connection.query_params)
    if shows_key_as_subprotocol(connection.scope):
        yield connection.scope["subprotocols"][1]


def says_key_later(scope: Scope) -> bool:
    return scope["type"] == "websocket" and _KEY_IN_MESSAGE.fullmatch(scope["path"]) is not None


def shows_key_as_subprotocol(scope: Scope) -> bool:
    offered = scope.get("subprotocols", [])
    return len(offered) == 2 and offered[0] == _KEY_SUBPROTOCOL


def choosing_subprotocol(send: Send) -> Send:
    """A browser that offered subprotocols drops a connection for which none was chosen."""

    async def choose(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": _KEY_SUBPROTOCOL}
        await send(message)

    return choose
