"""A client of `/stream-tokens` whose line breaks again and again, and that comes back each time for the rest.

It stands in for a socket: who talks through it sees one connection without a gap.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import websockets

Connect = Callable[[str], Awaitable[websockets.ClientConnection]]  # to a query

_BREAKS = 0.02  # of all messages that come: the line breaks behind them


class Roamer:
    """`connect` gives a socket of which nothing was read yet."""

    def __init__(self, connect: Connect, dice: random.Random) -> None:
        self.returns = 0
        self._connect = connect
        self._dice = dice
        self._ws: websockets.ClientConnection | None = None
        self._token = ""
        self._bytes = 0  # of audio, and
        self._messages = 0  # of JSON, that came
        self._sent: list[str] = []
        self._order = asyncio.Lock()  # what was lost goes before what is said next
        self._returning: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._ws = await self._connect("keep_open=1&resume=1")
        self._token = json.loads(await self._ws.recv())["resume"]

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    async def send(self, text: str) -> None:
        async with self._order:
            self._sent.append(text)
            with contextlib.suppress(websockets.ConnectionClosed):  # it will be said again, if there is anybody
                await self._socket.send(text)

    async def recv(self) -> str | bytes:
        """Who stops waiting for it may wait again: nothing is lost."""
        if self._returning:
            await asyncio.shield(self._returning)
            self._returning = None
        message = await self._socket.recv()
        if isinstance(message, bytes):
            self._bytes += len(message)
        else:
            self._messages += 1
        if self._dice.random() < _BREAKS:
            self._returning = asyncio.create_task(self._return())
        return message

    async def close(self) -> None:
        if self._returning:
            await asyncio.wait([self._returning])
        await self._socket.close()

    @property
    def _socket(self) -> websockets.ClientConnection:
        assert self._ws is not None
        return self._ws

    async def _return(self) -> None:
        async with self._order:
            if self._socket.close_code is not None:
                return  # it is over
            _reset(self._socket)
            await asyncio.sleep(self._dice.random())
            self._ws = await self._connect(f"resume={self._token}&bytes={self._bytes}&messages={self._messages}")
            ready: dict[str, Any] = json.loads(await self._ws.recv())
            if ready.get("resumed_at") != self._bytes:
                raise ConnectionError(f"could not come back to byte {self._bytes}: {ready}")
            self.returns += 1
            for text in self._sent[ready["received"] :]:
                await self._ws.send(text)


def _reset(ws: websockets.ClientConnection) -> None:
    """As when a network goes: the server gets no close frame."""
    raw = ws.transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.transport.abort()
