"""A client of ElevenLabs' WebSockets that hides nothing: what its tests share."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import websockets

from tests.harness import TIMEOUT_S, RunningServer, say

SENTENCES = ("Hello there.", "How are you today?")
TEXT = " ".join(SENTENCES)
PCM = "output_format=pcm_24000"


@dataclass
class Heard:
    """What a client got of one context."""

    audio: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None

    @property
    def is_final(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("isFinal") is True

    @property
    def errors(self) -> list[str]:
        return [message["error"] for message in self.messages if "error" in message]


@asynccontextmanager
async def socket_of(
    server: RunningServer, query: str = PCM, *, voice: str = "tone", door: str = "multi-stream-input"
) -> AsyncIterator[websockets.ClientConnection]:
    async with websockets.connect(f"{server.ws}/v1/text-to-speech/{voice}/{door}?{query}", max_size=None) as ws:
        yield ws


async def next_message(ws: websockets.ClientConnection) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
    return told


async def hear(ws: websockets.ClientConnection, *contexts: str | None) -> dict[str | None, Heard]:
    """Read until each of these contexts has come to its end, or the socket has."""
    heard = {context: Heard() for context in contexts}
    waiting = set(contexts)
    try:
        while waiting:
            message = await next_message(ws)
            one = heard.setdefault(message.get("contextId"), Heard())
            one.audio += base64.b64decode(message.get("audio") or "")
            one.messages.append(message)
            if message.get("isFinal") or "error" in message:
                waiting.discard(message.get("contextId"))
    except websockets.ConnectionClosed:
        heard.setdefault(None, Heard()).close_code = ws.close_code
    return heard


async def turn(ws: websockets.ClientConnection, context: str, text: str) -> Heard:
    await say(
        ws,
        {"text": " ", "context_id": context},
        {"text": text, "context_id": context},
        {"context_id": context, "close_context": True},
    )
    return (await hear(ws, context))[context]
