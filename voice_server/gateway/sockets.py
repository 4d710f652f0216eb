"""What doors have in common: the last words to a client, and the end of one that does not read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from voice_server.core.errors import VoiceError
from voice_server.logs import note

NORMAL_CLOSURE = 1000
POLICY_VIOLATION = 1008
ABORT = "voice_server.abort"  # the ASGI extensions that gateway/server.py puts into the scope
CUT = "voice_server.cut"
SEND_AT_ONCE = "voice_server.send_at_once"
TETHER = "voice_server.tether"


class Tethered(Protocol):
    """A socket whose client may come back on another one."""

    def expel(self, text: str, code: int) -> None:
        """Last words, if the client can take them now, and the end of the connection: nothing waits for a dead one."""

    def shorten(self, send_bytes: int) -> None:
        """Let the kernel hold so much for the client, about: what it holds is lost with the network."""

    async def until_parted(self) -> bool:
        """Waits for the end of the connection; whether it was meant: the client said goodbye, or broke the rules."""


async def send(websocket: WebSocket, message: str | bytes) -> None:
    """Raises WebSocketDisconnect where nobody is there, also when another task has met that before."""
    if websocket.application_state is not WebSocketState.CONNECTED:
        raise WebSocketDisconnect
    if isinstance(message, bytes):
        await websocket.send_bytes(message)
    else:
        await websocket.send_text(message)


async def close(websocket: WebSocket, code: int) -> None:
    """Nothing where nobody is there."""
    if websocket.application_state is WebSocketState.CONNECTED:
        with contextlib.suppress(WebSocketDisconnect):
            await websocket.close(code)


async def say_and_close(websocket: WebSocket, text: str, code: int) -> None:
    with contextlib.suppress(WebSocketDisconnect):
        await send(websocket, text)
        await close(websocket, code)


async def refuse_and_close(websocket: WebSocket, error: VoiceError, text: str) -> None:
    """The same where an error is the end, which is counted by its code."""
    note(error)
    await say_and_close(websocket, text, error.close_code or POLICY_VIOLATION)


def abort(connection: HTTPConnection) -> None:
    """Drop the connection. Closing it politely would wait for ever for a client that does not read."""
    _call(connection, ABORT)


def cut(connection: HTTPConnection) -> None:
    """Close an HTTP connection behind what was sent, without the end of the answer: the client sees that some lacks."""
    _call(connection, CUT)


def _call(connection: HTTPConnection, name: str) -> None:
    extension: dict[str, Callable[[], None]] = connection.scope["extensions"].get(name, {})
    if extension:
        extension["call"]()


def send_at_once(websocket: WebSocket, data: bytes) -> bool:
    """Hand a binary message to the socket without waiting; False when it cannot take it now."""
    extension: dict[str, Callable[[bytes], bool]] = websocket.scope["extensions"].get(SEND_AT_ONCE, {})
    return bool(extension) and extension["call"](data)


def tethered(websocket: WebSocket) -> Tethered:
    socket: Tethered = websocket.scope["extensions"][TETHER]["socket"]
    return socket


async def until_left(websocket: WebSocket) -> None:
    """Reads, and forgets what it reads, until the client is gone."""
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
