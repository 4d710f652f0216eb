"""A server with a folder of voices, and somebody who uploads some."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.harness import (
    FAST,
    RunningServer,
    cloned_tone_bytes,
    hum_wav,
    running_server,
    tone_config,
    voice_store,
)
from voice_server.core.limits import Limits
from voice_server.core.settings import BackendConfig

VOICES = "/v1/audio/voices"


@dataclass
class Desk:
    """A server, the folder of its voices, and a client that is in no hurry."""

    server: RunningServer
    client: httpx.AsyncClient
    folder: Path

    async def upload(self, sound: bytes = b"", file: str = "me.wav", **fields: str) -> httpx.Response:
        sent = {"audio_sample": (file, sound or hum_wav())}
        return await self.client.post(VOICES, data={"name": "ada", **fields}, files=sent)

    def files(self) -> list[str]:
        """All that is kept of voices; whose folder of copies it is says nothing of them."""
        return [path.name for path in self.folder.rglob("*") if path.is_file() and path.name != "samples"]

    def spoken(self, name: str, *sentences: str) -> bytes:
        return cloned_tone_bytes(self.server.backend.store.samples[name], *sentences)

    async def names(self, query: str = "") -> list[str]:
        return [voice["id"] for voice in (await self.client.get(VOICES + query)).json()["voices"]]


@asynccontextmanager
async def desk(
    python: Path, folder: Path, config: BackendConfig | None = None, limits: Limits = FAST, token: str = ""
) -> AsyncIterator[Desk]:
    store = voice_store(folder, limits.voices)
    async with running_server(config or tone_config(), python, voices=store, limits=limits, token=token) as server:
        async with httpx.AsyncClient(base_url=server.http, timeout=20) as client:
            yield Desk(server, client, folder)


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
