"""Events on their way to one client, in order, by one writer; a client that does not take them is cut off.

A message that was handed to the socket cannot be taken back; what still waits here can, at a barge-in.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable

from voice_server.core.errors import SlowClient, VoiceError
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    FormatChanged,
    Problem,
    SentenceAccepted,
    SentenceEnded,
    SentenceQueued,
    SentenceRendering,
    SentenceStarted,
    StreamReady,
    Told,
)
from voice_server.core.limits import StreamLimits
from voice_server.logs import note

_SURVIVES_CANCEL = (StreamReady, FormatChanged, AnswerDone, AnswerCancelled)


_OF_SPEECH = (AudioChunk, SentenceAccepted, SentenceQueued, SentenceRendering, SentenceStarted, SentenceEnded, Told)


class Outbox:
    """`on_delivered(event)` is called after each event that the socket took.

    `send_at_once(chunk)` is a door's short cut past the writer, for audio that comes when nothing waits: it says
    whether the socket took the audio there and then.
    """

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._events: deque[Event] = deque()
        self._waiting_bytes = 0
        self._wake: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._closed = False
        self.failure: VoiceError | None = None  # what ended it before its time
        self.on_delivered: Callable[[Event], None] = lambda event: None
        self.send_at_once: Callable[[AudioChunk], bool] = lambda chunk: False

    @property
    def waiting_bytes(self) -> int:
        """Audio that the socket has not taken yet."""
        return self._waiting_bytes

    @property
    def is_empty(self) -> bool:
        return not self._events

    def put(self, *events: Event) -> None:
        if len(events) == 1 and self._takes_short_cut(events[0]):
            return
        for event in events:
            self._events.append(event)
            if isinstance(event, AudioChunk):
                self._waiting_bytes += len(event.pcm)
        self._wake_up()

    async def room(self) -> None:
        """Until few replies wait: a client that causes them and reads none would fill the memory.

        What belongs to the speech itself is bounded elsewhere, and must not keep a barge-in from being heard.
        """
        while self._is_crowded and not self._closed:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    @property
    def _is_crowded(self) -> bool:
        most = self._limits.unread_replies
        return len(self._events) > most and sum(not isinstance(event, _OF_SPEECH) for event in self._events) > most

    def drop_answer(self) -> None:
        """Barge-in: nothing of the current answer is sent any more."""
        self._events = deque(event for event in self._events if _survives_cancel(event))
        self._waiting_bytes = 0

    def close(self) -> None:
        """Nobody is there any more: `run` returns without sending the rest."""
        self._closed = True
        self._wake_up()
        _wake(self._room)

    def reopen(self, *first: Event) -> None:
        """Somebody is there again, for the next `run`: these are sent first, then what waits but an old greeting."""
        self._closed = False
        self.failure = None
        self._events = deque((*first, *(event for event in self._events if not isinstance(event, StreamReady))))

    async def run(self, send: Callable[[Event], Awaitable[None]], is_last: Callable[[Event], bool]) -> Event | None:
        """Send events until one `is_last`, which is returned, or until `close`, which returns None.

        Raises SlowClient when one send takes too long; what `send` raises goes through.
        """
        watch = _SendWatch(self._limits.send_s)
        try:
            while event := await self._next():
                watch.begin()
                await send(event)
                watch.end()
                self.on_delivered(event)
                if is_last(event):
                    if isinstance(event, Problem):
                        self._fail(event.error)
                    return event
        except asyncio.CancelledError:
            if watch.has_fired:
                raise self._fail(SlowClient(f"audio was not read for {self._limits.send_s:g} s")) from None
            raise
        except VoiceError as error:
            self._fail(error)
            raise
        finally:
            watch.close()
        return None

    def _fail(self, error: VoiceError) -> VoiceError:
        self.failure = error
        note(error)
        return error

    async def _next(self) -> Event | None:
        while not self._events:
            if self._closed:
                return None
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        return None if self._closed else self._take()

    def _take(self) -> Event:
        event = self._events.popleft()
        _wake(self._room)
        if isinstance(event, AudioChunk):
            event = self._coalesced(event)
            self._waiting_bytes = max(0, self._waiting_bytes - len(event.pcm))
        return event

    def _coalesced(self, chunk: AudioChunk) -> AudioChunk:
        """Chunks that had to wait go out together: fewer messages for a client that is behind."""
        parts, size = [chunk.pcm], len(chunk.pcm)
        while self._events and size < self._limits.coalesce_bytes:
            following = self._events[0]
            if not isinstance(following, AudioChunk) or following.index != chunk.index:
                break
            parts.append(following.pcm)
            size += len(following.pcm)
            self._events.popleft()
        return AudioChunk(chunk.index, b"".join(parts)) if len(parts) > 1 else chunk

    def _takes_short_cut(self, event: Event) -> bool:
        if not (isinstance(event, AudioChunk) and self._is_idle and self.send_at_once(event)):
            return False
        self.on_delivered(event)
        return True

    @property
    def _is_idle(self) -> bool:
        """The writer is there and has nothing to do."""
        return not self._events and self._wake is not None and not self._wake.done()

    def _wake_up(self) -> None:
        _wake(self._wake)


def _wake(sleeper: asyncio.Future[None] | None) -> None:
    if sleeper and not sleeper.done():
        sleeper.set_result(None)


def _survives_cancel(event: Event) -> bool:
    return isinstance(event.event if isinstance(event, Told) else event, _SURVIVES_CANCEL)


class _SendWatch:
    """Cancels its task when one send takes longer than `limit_s`. One timer for many sends: they are many."""

    def __init__(self, limit_s: float) -> None:
        self.has_fired = False
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._began_at = math.inf  # no send is under way
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        self._began_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._limit_s, self._check)

    def end(self) -> None:
        self._began_at = math.inf

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _check(self) -> None:
        self._timer = None
        left_s = self._began_at + self._limit_s - self._loop.time()
        if left_s == math.inf:
            return
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._check)
        elif self._task:
            self.has_fired = True
            self._task.cancel()
