"""A client of WS `/tts` that hides nothing: what its tests share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import websockets

from tests.harness import (
    FAST,
    NO_VOICES,
    TIMEOUT_S,
    RunningServer,
    running_server,
    tone_bytes,
    tone_config,
)
from tests.unit.test_voxcpm_tts_replies import Frame, read_frame
from voice_server.core.limits import Limits
from voice_server.core.settings import BackendConfig
from voice_server.voices import VoiceStore

SENTENCES = ("Hello there, dear listener.", "How are you today?")
TEXT = " ".join(SENTENCES)
AUDIO = tone_bytes(*SENTENCES)
LONG = "This sentence is spoken at the pace of a person, so that there is time to stop it. " * 3


@dataclass
class Heard:
    """What one request got, in order."""

    frames: list[Frame] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def audio(self) -> bytes:
        return b"".join(frame.pcm for frame in self.frames)

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1]

    @property
    def is_over(self) -> bool:
        return bool(self.messages) and self.last["type"] in ("complete", "error")


def tts(name: str, text: str = TEXT, **params: Any) -> str:
    return json.dumps({"type": "tts_request", "request_id": name, "params": {"text": text, **params}})


def cancel(name: str) -> str:
    return json.dumps({"type": "cancel", "request_id": name})


async def hear(
    ws: websockets.ClientConnection, heard: dict[str, Heard] | None = None, ends: int = 1
) -> dict[str, Heard]:
    """By request, until so many of them are over."""
    heard = {} if heard is None else heard
    while sum(one.is_over for one in heard.values()) < ends:
        await hear_one(ws, heard)
    return heard


async def hear_one(ws: websockets.ClientConnection, heard: dict[str, Heard]) -> None:
    message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
    if isinstance(message, bytes):
        frame = read_frame(message)
        heard.setdefault(frame.told["request_id"], Heard()).frames.append(frame)
    else:
        told = json.loads(message)
        heard.setdefault(told["request_id"], Heard()).messages.append(told)


@asynccontextmanager
async def visit(
    python: Path,
    config: BackendConfig | None = None,
    *,
    path: str = "/tts",
    limits: Limits = FAST,
    voices: VoiceStore = NO_VOICES,
) -> AsyncIterator[tuple[RunningServer, websockets.ClientConnection]]:
    async with running_server(config or tone_config(), python, limits=limits, voices=voices) as server:
        async with websockets.connect(f"{server.ws}{path}", max_size=None) as ws:
            yield server, ws


async def ask(python: Path, *messages: str | bytes, config: BackendConfig | None = None) -> Heard:
    """The answer to the last message, which is for one request, or for none."""
    async with visit(python, config) as (_, ws):
        for message in messages:
            await ws.send(message)
        return next(iter((await hear(ws)).values()))
