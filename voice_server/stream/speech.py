"""One answer that a program pulls: tokens go in as there is room for them, events come out as it asks for them.

Promises: nothing is rendered far ahead of the reader, who may be as slow as it likes; who stops reading, by closing the
iterator, stops the engine and the tokens; an error of the tokens is raised after the words before it were spoken.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from dataclasses import replace
from typing import Any

from voice_server.core.errors import VoiceError
from voice_server.core.events import AnswerDone, Event, Problem
from voice_server.core.limits import Limits
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Talk, ends_answer


class Speech:
    """Begins when it is made; read its `events` once, or `leave` it. Raises UnknownVoice, BadOption."""

    def __init__(
        self, backend: Backend, limits: Limits, settings: StreamSettings, voice: str, options: dict[str, Any]
    ) -> None:
        self._limits = limits.text
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._taken = asyncio.Event()  # the reader has what was handed over
        self._moved = asyncio.Event()  # something was spoken: there may be room again
        self._is_over = False
        patient = replace(limits, stream=replace(limits.stream, send_s=math.inf))  # no socket that could be dead
        self._talk = Talk(backend, patient, settings, self._hand_over)
        try:
            self._talk.stream.set_voice(voice)
            self._talk.stream.set_options(options)
        except VoiceError:
            self.leave()
            raise

    async def events(self, tokens: AsyncIterable[str]) -> AsyncGenerator[Event, None]:
        """Until the answer is done or given up: see `ends_answer`. Raises what `tokens` raises, and TextTooLong."""
        feeding = asyncio.create_task(self._feed(tokens))
        try:
            event = await self._next()
            while not ends_answer(event):
                yield event
                event = await self._next()
            yield event
            if isinstance(event, AnswerDone):
                await feeding
        finally:
            self.leave()
            feeding.cancel()
            await asyncio.gather(feeding, self._talk.over(), return_exceptions=True)

    def end(self, error: VoiceError) -> None:
        """Stop it; `error`, which ends an answer, is the last that its reader gets."""
        self.leave()
        self._events.put_nowait(Problem(error))

    def leave(self) -> None:
        """Nobody reads any more: nothing more is rendered."""
        self._is_over = True
        self._talk.leave()
        self._taken.set()

    async def _hand_over(self, event: Event) -> None:
        self._is_over = self._is_over or ends_answer(event)
        self._events.put_nowait(event)
        self._moved.set()
        while not (self._events.empty() or self._is_over):
            self._taken.clear()
            await self._taken.wait()

    async def _next(self) -> Event:
        event = await self._events.get()
        self._taken.set()
        return event

    async def _feed(self, tokens: AsyncIterable[str]) -> None:
        try:
            async for token in tokens:
                for piece in _pieces(token, self._limits.token_chars):
                    await self._until_room(len(piece))
                    if self._is_over:
                        return
                    self._talk.stream.push(piece)
        finally:
            if not self._is_over:
                self._talk.stream.finish()
            if isinstance(tokens, AsyncGenerator):
                await tokens.aclose()

    async def _until_room(self, chars: int) -> None:
        while self._talk.stream.unspoken_chars + chars > self._limits.pending_chars and not self._is_over:
            self._moved.clear()
            await self._moved.wait()


def _pieces(text: str, most: int) -> Iterator[str]:
    return (text[at : at + most] for at in range(0, len(text), most))
