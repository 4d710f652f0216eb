"""Recordings that clients name by URL, as voices for as long as the connection lasts that named them.

Promises: a connection's recording is fetched once; no file reaches an engine that the voice store would refuse; the
voices of one connection are nobody else's; and what is kept of them, in a folder of the system's temporary files for
each, is removed with the connection, or sooner, where more were named than are kept.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from voice_server.core.addresses import FileUrl
from voice_server.core.doors.limits import PromptLimits
from voice_server.core.errors import BadOption, BadSample, Overloaded, StorageFull
from voice_server.gateway.uploads import seat
from voice_server.voices import VoiceStore

PROMPT = "prompt"  # the name of the one voice of such a store
_SUFFIX = ".wav"  # of the file that it is kept in: what it really is, its content says

Fetch = Callable[[FileUrl], Awaitable[bytes]]  # raises BadOption
OpenStore = Callable[[Path], VoiceStore]  # all of it in this folder
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Prompt:
    url: FileUrl
    words: str  # that are spoken in the recording; "" where that is not known


class Prompts:
    def __init__(self, fetch: Fetch, open_store: OpenStore, limits: PromptLimits) -> None:
        self._fetch = fetch
        self._open_store = open_store
        self._limits = limits
        self._seats = asyncio.Semaphore(limits.at_once)
        self._held: dict[tuple[Hashable, Prompt], _Held] = {}  # the one that was wanted last is at the end

    @asynccontextmanager
    async def holding(self, guest: Hashable, prompt: Prompt) -> AsyncIterator[_Held]:
        """A recording that stays as long as it is held. Nothing is fetched yet. Raises Overloaded."""
        held = self._held.pop((guest, prompt), None) or _Held(prompt)
        self._held[guest, prompt] = held
        held.users += 1
        try:
            await self._make_room()
            yield held
        finally:
            held.users -= 1

    async def store(self, held: _Held) -> VoiceStore:
        """With one voice, PROMPT, in it. Raises BadOption, Overloaded, StorageFull."""
        async with held.lock:
            if held.store is None:
                async with seat(self._seats, self._limits.wait_s, "other recordings are being fetched"):
                    await self._fill(held)
            assert held.store is not None
            return held.store

    async def forget(self, guest: Hashable) -> None:
        """It has left, and asks for nothing any more."""
        await self._remove([key for key in self._held if key[0] is guest])

    async def close(self) -> None:
        await self._remove(list(self._held))

    async def _fill(self, held: _Held) -> None:
        try:
            sound = await self._fetch(held.prompt.url)
            await _to_the_end(asyncio.to_thread(held.keep, sound, self._open_store))
        except (BadOption, BadSample) as error:
            field = "prompt_text" if error.field == "transcript" else "prompt_wav_url"
            raise BadOption(f"{field}: {error.message}", field=field) from None

    async def _make_room(self) -> None:
        idle = [key for key, held in self._held.items() if not held.users]
        await self._remove(idle[: max(0, len(self._held) - self._limits.kept)])
        if len(self._held) > self._limits.kept:
            raise Overloaded("too many recordings are being spoken with; try again in a few seconds")

    async def _remove(self, keys: list[tuple[Hashable, Prompt]]) -> None:
        gone = [self._held.pop(key) for key in keys]
        for held in gone:
            await _to_the_end(asyncio.to_thread(held.remove))


class _Held:
    """A recording that was asked for. `keep` and `remove` block."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.users = 0
        self.lock = asyncio.Lock()  # of who fetches it; others wait for the same
        self.store: VoiceStore | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def keep(self, sound: bytes, open_store: OpenStore) -> None:
        """Raises BadSample, StorageFull."""
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="voice-server-prompt-", ignore_cleanup_errors=True)
        except OSError as error:
            raise StorageFull(f"the recording could not be kept ({error.strerror}): make room for it") from error
        try:
            store = open_store(Path(self._folder.name))
            store.add(PROMPT, sound, _SUFFIX, self.prompt.words)
            self.store = store
        finally:
            if self.store is None:
                self.remove()

    def remove(self) -> None:
        self.store = None
        if self._folder:
            self._folder.cleanup()


async def _to_the_end(work: Coroutine[Any, Any, Result]) -> Result:
    """A thread cannot be stopped: who is cancelled meanwhile waits for it, so that nothing is left behind."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
