"""A stream with an outbox of its own, and the task that sends what comes out.

For doors that hold several streams on one socket, or speak one text and are done. No HTTP types.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from voice_server.core.events import AnswerDone, Event, Problem
from voice_server.core.limits import Limits
from voice_server.stream.backend import Backend
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings

Send = Callable[[Event], Awaitable[None]]


def ends_answer(event: Event) -> bool:
    """Whether nothing comes after this event: the answer is done, or the stream was given up."""
    return isinstance(event, AnswerDone) or (isinstance(event, Problem) and event.error.close_code is not None)


class Talk:
    """Speak through `stream`; every event goes to `send`, in order, until one `is_last`. Then the stream is closed."""

    def __init__(
        self,
        backend: Backend,
        limits: Limits,
        settings: StreamSettings,
        send: Send,
        is_last: Callable[[Event], bool] = ends_answer,
    ) -> None:
        self.outbox = Outbox(limits.stream)
        self.stream = Stream(backend, self.outbox, limits, settings)
        self._writer = asyncio.create_task(self.outbox.run(send, is_last))
        self._writer.add_done_callback(lambda _: self.stream.close())

    def leave(self) -> None:
        """Nobody listens any more: nothing more is sent or rendered."""
        self.outbox.close()

    async def over(self) -> Event | None:
        """The last event; None when the client left before. Raises SlowClient, and what `send` raises."""
        return await self._writer
