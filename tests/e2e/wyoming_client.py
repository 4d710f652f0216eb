"""A Wyoming client on a bare socket, for tests that must send what no decent client sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.harness import TIMEOUT_S, RunningServer
from voice_server.gateway.doors.wyoming import serve_wyoming


@dataclass
class WyomingClient:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, kind: str, **data: Any) -> None:
        self.writer.write(json.dumps({"type": kind, "data": data}).encode() + b"\n")
        await self.writer.drain()

    async def hear(self) -> tuple[str, dict[str, Any], bytes] | None:
        """Type, data and payload of the next event; None at the end."""
        async with asyncio.timeout(TIMEOUT_S):
            line = await self.reader.readline()
            if not line:
                return None
            told = json.loads(line)
            data = json.loads(await self.reader.readexactly(told.get("data_length", 0)) or b"{}")
            return told["type"], data, await self.reader.readexactly(told.get("payload_length", 0))

    async def hear_until(self, *last: str) -> tuple[list[str], bytes]:
        """The types of events up to one of `last` or the end, and the audio in them."""
        kinds, audio = [], b""
        while event := await self.hear():
            kinds.append(event[0])
            audio += event[2]
            if event[0] in last:
                break
        return kinds, audio


@asynccontextmanager
async def wyoming(server: RunningServer) -> AsyncIterator[int]:
    """The port of the door."""
    listening = await serve_wyoming(server.house, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[WyomingClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield WyomingClient(reader, writer)
    finally:
        writer.close()
