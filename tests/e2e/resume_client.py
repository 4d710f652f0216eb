"""A client of `/stream-tokens` that loses its socket and knows how to come back."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import websockets

from tests.harness import FAST, TIMEOUT_S, RunningServer, running_server, tone_config
from voice_server.core.limits import Limits

SENTENCES = ("Hello there.", "How are you today?", "This one is the last of three.")

ANSWER: list[dict[str, Any]] = [{"token": f"{sentence} "} for sentence in SENTENCES] + [{"done": True}]

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing the socket resets the connection


@dataclass
class Listener:
    """Counts what it gets, remembers what it said, and knows how to come back."""

    server: RunningServer
    query: dict[str, str] = field(default_factory=dict)
    ready: dict[str, Any] = field(default_factory=dict)
    got: list[bytes | str] = field(default_factory=list)  # in order, without `ready`
    said: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None
    key: str = ""  # of the server
    ws: websockets.ClientConnection = field(init=False)

    @property
    def audio(self) -> bytes:
        return b"".join(one for one in self.got if isinstance(one, bytes))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(one) for one in self.got if isinstance(one, str)]

    @property
    def place(self) -> dict[str, Any]:
        return {"token": self.ready["resume"], "bytes": len(self.audio), "messages": len(self.messages)}

    async def come(self) -> None:
        await self._connect({**self.query, "resume": "1"})

    async def come_back(self, **other: Any) -> None:
        """With the place in the address; `other` replaces parts of it."""
        place = {**self.place, **other}
        token = place.pop("token")
        await self._connect({"resume": token, **{key: str(value) for key, value in place.items() if value is not None}})
        for message in self.said[self.ready.get("received", len(self.said)) :]:
            await self.ws.send(json.dumps(message))

    async def come_back_by_message(self) -> None:
        place = self.place
        await self._connect({})
        await self.ws.send(json.dumps({"resume": place}))
        self.ready = json.loads(await asyncio.wait_for(self.ws.recv(), TIMEOUT_S))

    async def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.said.append(message)
            await self.ws.send(json.dumps(message))

    async def read(self, items: int) -> None:
        for _ in range(items):
            self.got.append(await asyncio.wait_for(self.ws.recv(), TIMEOUT_S))

    async def read_audio(self, audio_bytes: int) -> None:
        while len(self.audio) < audio_bytes:
            await self.read(1)

    async def read_until(self, kind: str) -> None:
        await self.read(1)
        while not self.has_just_read(kind):
            await self.read(1)

    def has_just_read(self, kind: str) -> bool:
        return bool(self.got) and isinstance(self.got[-1], str) and json.loads(self.got[-1])["type"] == kind

    async def read_all(self) -> None:
        try:
            while True:
                await self.read(1)
        except websockets.ConnectionClosed:
            self.close_code = self.ws.close_code

    def lose(self) -> None:
        """The network resets the connection; what was on its way is gone."""
        self.ws.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.ws.transport.abort()

    async def _connect(self, query: dict[str, str]) -> None:
        """With a small window: what a client does not read stays with the server."""
        url, own = f"{self.server.ws}/stream-tokens?{urlencode(query)}", socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, ("127.0.0.1", self.server.port))
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else None
        self.ws = await websockets.connect(url, sock=own, max_size=None, additional_headers=headers)
        self.ready = json.loads(await asyncio.wait_for(self.ws.recv(), TIMEOUT_S))


@asynccontextmanager
async def listener(
    python: Path, *, limits: Limits = FAST, query: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Listener]:
    async with running_server(tone_config(**options), python, limits=limits) as server:
        client = Listener(server, query or {})
        await client.come()
        yield client
        client.ws.transport.abort()
