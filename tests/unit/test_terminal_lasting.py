from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from voice_server.core.limits import TerminalLimits
from voice_server.terminal.lasting import LastingSession
from voice_server.terminal.session import RemoteSession, connect_remote

pytestmark = pytest.mark.anyio

READY = {"type": "ready", "resume": "secret", "resume_s": 30.0}


class ForgetfulServer:
    """Loses the first socket when three messages have come, and lets who comes back wait for its `ready`."""

    def __init__(self) -> None:
        self.has_returned = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.heard: list[list[Any]] = []  # by socket

    async def talk(self, socket: ServerConnection) -> None:
        heard: list[Any] = []
        self.heard.append(heard)
        if len(self.heard) == 1:
            await socket.send(json.dumps(READY))
            while len(heard) < 3:
                heard.append(json.loads(await socket.recv()))
            socket.transport.abort()
            return
        await self.may_go_on.wait()
        await socket.send(json.dumps({**READY, "resumed_at": 0, "received": 3}))
        while {"done": True} not in heard:
            heard.append(json.loads(await socket.recv()))
        await socket.send(json.dumps({"type": "done"}))

    async def connect(self, port: int, **query: object) -> RemoteSession:
        session = await connect_remote(f"ws://127.0.0.1:{port}", **query)
        if "bytes" in query:
            self.has_returned.set()
        return session


async def test_what_is_said_before_the_server_says_what_it_lacks_waits_for_its_turn() -> None:
    said = [{"token": f"{number} "} for number in range(8)]
    server = ForgetfulServer()
    async with serve(server.talk, "127.0.0.1", 0) as listening:
        connect = partial(server.connect, next(iter(listening.sockets)).getsockname()[1])
        session = LastingSession(await connect(), connect, TerminalLimits())
        assert await session.receive() == READY
        for message in said[:5]:
            await session.send(message)
        next_message = asyncio.create_task(session.receive())
        await server.has_returned.wait()
        for message in said[5:]:
            await session.send(message)
        server.may_go_on.set()
        await session.send({"done": True})
        assert await next_message == {"type": "done"}
        await session.close()
    assert server.heard == [said[:3], [*said[3:], {"done": True}]]
