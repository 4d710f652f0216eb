"""The gateway without a server: the CLI talks to a stream in its own process, in the messages of /stream-tokens."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from voice_server.core.doors import stream_tokens_protocol as protocol
from voice_server.core.events import AudioChunk, Event
from voice_server.core.limits import Limits
from voice_server.stream.backend import Backend
from voice_server.stream.dialogue import Dialogue
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings


class LocalSession:
    """Implements Session over a stream in this process."""

    def __init__(self, backend: Backend, limits: Limits, query: dict[str, str]) -> None:
        said = protocol.from_query(query, limits)
        native = (backend.sample_rate or 0) if said.sample_rate == protocol.NATIVE else 0
        rate = said.sample_rate if isinstance(said.sample_rate, int) else native
        self._outbox = Outbox(limits.stream)
        self._stream = Stream(backend, self._outbox, limits, StreamSettings(sample_rate=rate))
        self._dialogue = Dialogue(self._stream, self._outbox, limits, keep_open=bool(said.keep_open))
        self._messages: asyncio.Queue[dict[str, Any] | bytes | None] = asyncio.Queue()
        self._stream.set_voice(said.voice or "")
        self._stream.greet()
        self._writer = asyncio.create_task(self._run())

    async def send(self, message: dict[str, Any]) -> None:
        self._dialogue.take(json.dumps(message))

    async def receive(self) -> dict[str, Any] | bytes | None:
        return await self._messages.get()

    async def close(self) -> None:
        self._stream.close()
        self._writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writer

    async def _run(self) -> None:
        await self._outbox.run(self._put, self._dialogue.is_last)
        await self._messages.put(None)

    async def _put(self, event: Event) -> None:
        await self._messages.put(event.pcm if isinstance(event, AudioChunk) else protocol.message_of(event))


class LocalGateway:
    """A backend that is ready to speak. `reason` says why it was picked."""

    def __init__(self, backend: Backend, reason: str, limits: Limits) -> None:
        self._backend = backend
        self._limits = limits
        self.reason = reason

    @property
    def backend(self) -> str:
        return self._backend.name

    @property
    def sample_rate(self) -> int:
        return self._backend.sample_rate or self._limits.stream.sample_rate

    @property
    def voices(self) -> list[str]:
        return self._backend.voices

    def connect(self, **query: object) -> LocalSession:
        """A new session. Raises VoiceError when the query is wrong."""
        texts = {key: str(value) for key, value in query.items() if value is not None}
        return LocalSession(self._backend, self._limits, texts)
