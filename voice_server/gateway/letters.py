"""Messages on their way to one client of a door whose news replace each other.

Promises: in order; what came later replaces what waits under the same key, so a client that reads slowly gets fewer
messages and no older ones; one that does not read at all is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable

from starlette.websockets import WebSocket

from voice_server.core.errors import SlowClient, VoiceError
from voice_server.gateway.sockets import POLICY_VIOLATION
from voice_server.logs import note


class Letters:
    """`words` makes the last message to a client out of the error that ends it."""

    def __init__(self, websocket: WebSocket, words: Callable[[VoiceError], str], *, send_s: float, unread: int) -> None:
        self._websocket = websocket
        self._words = words
        self._send_s = send_s
        self._unread = unread
        self._waiting: dict[Hashable, str] = {}
        self._close_code: int | None = None
        self._is_gone = False
        self._news = asyncio.Event()
        self._taken = asyncio.Event()

    def put(self, text: str, key: Hashable = None) -> None:
        """Without a key it replaces nothing."""
        if self._close_code is None:
            self._waiting[object() if key is None else key] = text
            self._news.set()

    def part(self, error: VoiceError) -> None:
        """The last one: the socket is closed behind it."""
        if self._close_code is None:
            note(error)
            self.put(self._words(error))
            self._close_code = error.close_code or POLICY_VIOLATION

    async def room(self) -> None:
        """Until few wait: a client whose mistakes cause them, and who reads none, would fill the memory."""
        while len(self._waiting) >= self._unread and not self._is_gone:
            self._taken.clear()
            await self._taken.wait()

    def leave(self) -> None:
        """Nobody is there any more."""
        self._is_gone = True
        self._news.set()
        self._taken.set()

    async def run(self) -> None:
        """Until the last one was sent, or nobody is there. Raises SlowClient, and what sending raises."""
        while not self._is_gone:
            self._news.clear()
            if len(self._waiting) > self._unread:
                raise SlowClient("too many messages wait to be read")
            if self._waiting:
                self._taken.set()
                await self._send(self._waiting.pop(next(iter(self._waiting))))
            elif self._close_code is not None:
                await self._websocket.close(self._close_code)
                return
            else:
                await self._news.wait()

    async def _send(self, text: str) -> None:
        try:
            await asyncio.wait_for(self._websocket.send_text(text), self._send_s)
        except asyncio.TimeoutError:
            raise SlowClient(f"messages were not read for {self._send_s:g} s") from None
