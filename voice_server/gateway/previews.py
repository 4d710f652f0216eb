"""How voices sound: short renders, kept in memory.

Promises: however many ask for the same preview, it is rendered once; when the last of them has left, its render ends;
and what is kept never takes more than its bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from voice_server.core.audio.repeats import RepeatKey, Repeats

Make = Callable[[], Coroutine[Any, Any, bytes]]


@dataclass(slots=True)
class _Making:
    task: asyncio.Task[bytes]
    waiting: int = 0


class Previews:
    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept = Repeats(max_bytes)
        self._making: dict[RepeatKey, _Making] = {}

    async def get(self, key: RepeatKey, make: Make) -> bytes:
        """The sound of `key`; `make` renders it where it is not there. Raises what `make` raises."""
        if kept := self._kept.find(key):
            return b"".join(kept.pcm)
        making = self._making.get(key) or self._begin(key, make)
        making.waiting += 1
        try:
            return await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if not making.waiting:
                del self._making[key]
                making.task.cancel()

    def forget(self) -> None:
        """Nothing that was kept is there any more: the voice of somebody may have been taken away."""
        self._kept = Repeats(self._max_bytes)

    def _begin(self, key: RepeatKey, make: Make) -> _Making:
        making = self._making[key] = _Making(asyncio.create_task(self._make(key, make)))
        return making

    async def _make(self, key: RepeatKey, make: Make) -> bytes:
        sound = await make()
        self._kept.keep(key, [sound], truncated=False)
        return sound
