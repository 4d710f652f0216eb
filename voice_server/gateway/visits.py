"""A WebSocket that stays: it is read all the time, let go when it is idle, and asked to leave at a shutdown.

What the doors have in common whose clients stay. A door's own part is `Stay`; of those that speak it is `Host`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Protocol

from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.errors import BackendUnavailable, BadMessage, GoingAway, IdleTimeout, SlowClient, VoiceError
from voice_server.core.events import Event, Problem
from voice_server.core.limits import Limits
from voice_server.gateway.house import House
from voice_server.gateway.sockets import NORMAL_CLOSURE, abort, close
from voice_server.logs import note
from voice_server.stream.backend import Backend
from voice_server.stream.outbox import Outbox
from voice_server.stream.recogniser import Recogniser
from voice_server.wire.messages import Ready


async def until_ready(backend: Backend | Recogniser, limits: Limits) -> Ready:
    """Waits for a backend that is loading as long as for one that is busy. Raises BackendUnavailable."""
    try:
        return await asyncio.wait_for(backend.pool.until_ready(), limits.stream.queue_wait_s)
    except asyncio.TimeoutError:
        raise BackendUnavailable(f"{backend.name} is still loading; try again in a few seconds") from None


class Stay(Protocol):
    """A client that stays, as its door knows it."""

    @property
    def is_busy(self) -> bool:
        """Something it asked for is not complete: a shutdown waits for that."""
        ...

    @property
    def is_awaiting(self) -> bool:
        """It waits for something of ours, and is not idle however little it says."""
        ...

    def hear(self, data: str | bytes) -> None:
        """A message. It raises nothing: the client is told what is wrong with it."""

    async def room(self) -> None:
        """Until the next message may be heard."""

    async def write(self) -> None:
        """Until the last word was sent, or nobody is there. Raises SlowClient, and what sending raises."""

    def part(self, error: VoiceError) -> None:
        """The last word."""

    def leave(self) -> None:
        """Nobody is there any more."""


class Host(Protocol):
    """What a door that speaks makes of the messages of a client, and of the events in its outbox."""

    @property
    def is_busy(self) -> bool:
        """An answer has begun and is not complete."""
        ...

    @property
    def is_speaking(self) -> bool:
        """Something that was said has not been heard yet."""
        ...

    def hear(self, text: str) -> None:
        """A message of the client. Raises what is wrong with it."""
        ...

    async def say(self, event: Event) -> None: ...

    def is_last(self, event: Event) -> bool: ...


class Speaking:
    """Implements Stay for the doors that speak: events in `outbox` are said until one is the last."""

    def __init__(self, websocket: WebSocket, outbox: Outbox, host: Host) -> None:
        self._websocket = websocket
        self._outbox = outbox
        self._host = host

    @property
    def is_busy(self) -> bool:
        return self._host.is_busy

    @property
    def is_awaiting(self) -> bool:
        return self._host.is_speaking

    def hear(self, data: str | bytes) -> None:
        try:
            if isinstance(data, bytes):
                raise BadMessage("a message is JSON text, not binary")
            self._host.hear(data)
        except VoiceError as error:
            self._outbox.put(Problem(error))

    async def room(self) -> None:
        await self._outbox.room()

    async def write(self) -> None:
        if last := await self._outbox.run(self._host.say, self._host.is_last):
            await close(self._websocket, _close_code(last))

    def part(self, error: VoiceError) -> None:
        self._outbox.put(Problem(error))

    def leave(self) -> None:
        self._outbox.close()


class Visit:
    """Implements house.Guest. When all is written, or the client is gone, it is over."""

    def __init__(self, websocket: WebSocket, house: House, stay: Stay) -> None:
        self._websocket = websocket
        self._house = house
        self._stay = stay
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._idle_timer = self._loop.call_later(house.limits.stream.idle_s, self._watch_idle)

    async def run(self) -> None:
        self._house.guests.add(self)
        reader = asyncio.create_task(self._read())
        try:
            await self._stay.write()
        except SlowClient as error:
            note(error)
            abort(self._websocket)
        except WebSocketDisconnect:
            pass
        finally:
            self._house.guests.discard(self)
            self._idle_timer.cancel()
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    # Guest

    @property
    def is_busy(self) -> bool:
        return self._stay.is_busy

    def go_away(self) -> None:
        self._stay.part(GoingAway("the server is shutting down; connect again"))

    # Reading

    async def _read(self) -> None:
        try:
            while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
                self._heard_at = self._loop.time()
                data = message.get("bytes")
                self._stay.hear(message.get("text") or "" if data is None else data)
                await self._stay.room()
        finally:  # also after a mistake of ours: nobody may wait for ever on a socket that is not read
            self._stay.leave()

    def _watch_idle(self) -> None:
        idle_s = self._house.limits.stream.idle_s
        left_s = self._heard_at + idle_s - self._loop.time()
        if left_s <= 0 and not self._stay.is_awaiting:
            self._stay.part(IdleTimeout(f"nothing was said for {idle_s:g} s"))
        else:
            self._idle_timer = self._loop.call_later(left_s if left_s > 0 else idle_s, self._watch_idle)


def _close_code(last: Event) -> int:
    code = last.error.close_code if isinstance(last, Problem) else None
    return code or NORMAL_CLOSURE
