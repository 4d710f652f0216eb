"""A session that outlives its socket: docs/stream-tokens.md, "A lost connection".

Promises: every message is received once and in order, whatever sockets were lost on the way, and what was said arrives
so, too; when the server does not take its client back in time, the session ends as one without a promise does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from voice_server.core.limits import TerminalLimits
from voice_server.terminal.session import CannotConnect, RemoteSession, connect_remote

Message = dict[str, Any] | bytes | None
Connect = Callable[..., Awaitable[RemoteSession]]


class LastingSession:
    """Implements Session. `connect` opens another socket, given the query."""

    def __init__(self, first: RemoteSession, connect: Connect, limits: TerminalLimits) -> None:
        self._session = first
        self._connect = connect
        self._limits = limits
        self._said: list[dict[str, Any]] = []
        self._sent = 0  # of them
        self._is_away = False  # then nothing is sent: only the server's `ready` tells what comes next
        self._audio_bytes = 0
        self._messages = 0
        self._token = ""  # the server may have none to give
        self._wait_s = 0.0

    async def send(self, message: dict[str, Any]) -> None:
        self._said.append(message)
        await self._send_rest()

    async def receive(self) -> Message:
        message = await self._session.receive()
        while message is None and self._token and self._session.was_lost:
            message = await self._come_back()
        return self._counted(message)

    async def close(self) -> None:
        await self._session.close()

    async def _come_back(self) -> Message:
        """What comes next on another socket, or why there is none."""
        self._is_away = True
        give_up_at = asyncio.get_running_loop().time() + self._wait_s
        while asyncio.get_running_loop().time() < give_up_at:
            try:
                await self._session.close()
                place = {"resume": self._token, "bytes": self._audio_bytes, "messages": self._messages}
                self._session = await self._connect(**place)
                return await self._go_on(await self._session.receive())
            except CannotConnect:
                await asyncio.sleep(self._limits.resume_every_s)
        self._token = ""
        return None

    async def _go_on(self, ready: Message) -> Message:
        if not isinstance(ready, dict) or ready.get("type") != "ready":
            return ready
        self._sent = max(0, int(_number(ready.get("received"))))
        self._is_away = False
        await self._send_rest()
        return await self._session.receive()

    async def _send_rest(self) -> None:
        while not self._is_away and self._sent < len(self._said):
            self._sent += 1
            await self._session.send(self._said[self._sent - 1])

    def _counted(self, message: Message) -> Message:
        if isinstance(message, bytes):
            self._audio_bytes += len(message)
        elif message and message.get("type") == "ready":
            self._token, self._wait_s = str(message.get("resume") or ""), _number(message.get("resume_s"))
        elif message:
            self._messages += 1
        return message


async def connect_lasting(
    url: str, *, token: str = "", limits: TerminalLimits | None = None, **query: object
) -> LastingSession:
    """Raises CannotConnect."""
    limits = limits or TerminalLimits()
    connect: Connect = partial(connect_remote, url, token=token, limits=limits)
    return LastingSession(await connect(resume=1, **query), connect, limits)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
