"""The driving loop: tokens go out, messages and audio come in, and an interrupt stops the speech.

One `Conversation` is one answer over one open session. It owns its tasks: when `run` returns, none of them is left.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from voice_server.core.limits import TerminalLimits
from voice_server.terminal.answer import Answer, Message
from voice_server.terminal.session import Session
from voice_server.terminal.view import Screen


class Sink(Protocol):
    """Where audio goes."""

    def write(self, pcm: bytes, sample_rate: int) -> None: ...

    def stop(self) -> None: ...  # drop what nobody has heard yet

    async def finish(self) -> None: ...  # returns when it is heard, or safe

    def close(self) -> None: ...


class Conversation:
    def __init__(
        self,
        session: Session,
        answer: Answer,
        screen: Screen,
        sinks: Sequence[Sink],
        *,
        limits: TerminalLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._answer = answer
        self._screen = screen
        self._sinks = sinks
        self._limits = limits
        self._clock = clock
        self._news = asyncio.Event()

    async def run(
        self, tokens: Sequence[str], *, options: Mapping[str, Any], delay_s: float, interrupted: asyncio.Event
    ) -> None:
        """Returns when the answer has been heard, written, refused or stopped."""
        try:
            await _alongside(
                self._listen(), self._feed(tokens, options, delay_s), self._stop_when(interrupted), self._tick()
            )
        finally:
            for sink in self._sinks:
                sink.close()
            self._screen.close(self._answer, self._clock())

    async def _listen(self) -> None:
        while not self._answer.over:
            self._take(await self._session.receive())
        for sink in self._sinks:
            await sink.finish()

    def _take(self, message: Message) -> None:
        now = self._clock()
        self._answer.receive(message, now)
        if isinstance(message, bytes) and not self._answer.stopped:
            for sink in self._sinks:
                sink.write(message, self._answer.sample_rate)
        self._screen.show(message, self._answer, now)
        self._news.set()

    async def _feed(self, tokens: Sequence[str], options: Mapping[str, Any], delay_s: float) -> None:
        await self._until(lambda: bool(self._answer.sample_rate))
        if options:
            await self._session.send({"opts": dict(options)})
        for number, token in enumerate(tokens):
            await asyncio.sleep(delay_s if number else 0)
            await self._until(lambda: self._answer.unspoken_chars < self._limits.unspoken_chars)
            if self._ended:
                return
            self._answer.sent(token, self._clock())
            await self._session.send({"token": token})
        if not self._ended:
            await self._session.send({"done": True})

    async def _stop_when(self, interrupted: asyncio.Event) -> None:
        await interrupted.wait()
        self._answer.stop()
        for sink in self._sinks:
            sink.stop()
        if not self._answer.over:
            await self._session.send({"cancel": True})

    async def _tick(self) -> None:
        while True:
            self._screen.tick(self._answer, self._clock())
            await asyncio.sleep(self._limits.refresh_s)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (condition() or self._ended):
            self._news.clear()
            await self._news.wait()

    @property
    def _ended(self) -> bool:
        return self._answer.over or self._answer.stopped


async def _alongside(main: Coroutine[Any, Any, None], *helpers: Coroutine[Any, Any, None]) -> None:
    """Runs all until the first one returns or any of them fails; then nothing is left running."""
    leader = asyncio.ensure_future(main)
    pending = {leader, *map(asyncio.ensure_future, helpers)}
    everything = set(pending)
    try:
        while not leader.done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
