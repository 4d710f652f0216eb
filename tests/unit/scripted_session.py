"""A session whose server follows a script: for the driving loop, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

READY = {"type": "ready", "protocol": 1, "backend": "tone", "voice": "sine", "sample_rate": 24000}
Reply = dict[str, Any] | bytes | None


class ScriptedSession:
    """Answers each message by what `reply` gives for it. Says `greeting` unasked."""

    def __init__(self, reply: Callable[[dict[str, Any]], list[Reply]], greeting: Reply = READY) -> None:
        self.sent: list[dict[str, Any]] = []
        self.closed = False
        self._reply = reply
        self._replies: asyncio.Queue[Reply] = asyncio.Queue()
        self.say(greeting)

    @property
    def text(self) -> str:
        return "".join(message.get("token", "") for message in self.sent)

    def say(self, reply: Reply) -> None:
        self._replies.put_nowait(reply)

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        for reply in self._reply(message):
            self.say(reply)

    async def receive(self) -> Reply:
        return await self._replies.get()

    async def close(self) -> None:
        self.closed = True


def one_second(message: dict[str, Any]) -> list[Reply]:
    """A server that answers any text with a second of audio."""
    if "cancel" in message:
        return [{"type": "cancelled"}]
    return [bytes(48000), {"type": "done"}] if "done" in message else []
