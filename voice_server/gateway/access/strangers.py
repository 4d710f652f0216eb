"""A WebSocket whose client may show its key in its first message: until then it is a stranger.

Promises: a stranger is told that it has no key and nothing else, whatever it says and whatever its address asks for;
and it stays no longer than others may take for the head of a request, where they show their key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.errors import GoingAway
from voice_server.gateway.house import House


class Stranger:
    """Implements house.Guest, on a socket that was accepted."""

    is_busy = False

    def __init__(self, websocket: WebSocket, house: House) -> None:
        self._websocket = websocket
        self._house = house
        self._hearing = asyncio.create_task(websocket.receive())

    def go_away(self) -> None:
        self._hearing.cancel()

    async def introduction(self, key_of: Callable[[str], str]) -> str:
        """Its first message, when that has a token. Raises Unauthorized, GoingAway and WebSocketDisconnect."""
        self._house.guests.add(self)
        try:
            text = await self._first_message()
        finally:
            self._house.guests.discard(self)
            self._hearing.cancel()
            await asyncio.wait([self._hearing])
        self._house.gate.check_key(self._websocket, key_of(text))
        return text

    async def _first_message(self) -> str:
        """Who says nothing in time has shown no key either."""
        await asyncio.wait([self._hearing], timeout=self._house.limits.stream.head_s)
        if not self._hearing.done():
            return ""
        if self._hearing.cancelled():
            raise GoingAway("the server is shutting down; connect again")
        message = self._hearing.result()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        return message.get("text") or ""
