"""What a far worker says, and what is said in its name: whole frames, one after the other, nothing within another.

The bytes of the worker are passed on as they come; only the ends of its frames are counted. What is said in its name
waits for such an end, and for the first: a worker's first words are its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from voice_server.wire.frames import encode
from voice_server.wire.messages import WorkerMessage

_HEADER_BYTES = 4


class Edges:
    """Counts frames in a stream of bytes, of which nothing is kept."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._missing = 0  # of the body begun
        self.has_one = False  # whole frame

    @property
    def is_between(self) -> bool:
        """Frames, not within one."""
        return not self._header and not self._missing

    def last_in(self, data: bytes) -> int:
        """How many of these bytes lie before the last end of a frame in them; 0 where none ends."""
        at = edge = 0
        while at < len(data):
            if not self._missing:
                at += self._take_header(data[at : at + _HEADER_BYTES - len(self._header)])
            step = min(self._missing, len(data) - at)
            self._missing -= step
            at += step
            edge = at if self.is_between else edge
        self.has_one = self.has_one or edge > 0
        return edge

    def _take_header(self, piece: bytes) -> int:
        self._header += piece
        if len(self._header) == _HEADER_BYTES:
            self._missing = int.from_bytes(self._header, "big")
            self._header.clear()
        return len(piece)


class Upward:
    """The way to the gateway; `send` takes all or raises OSError."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._edges = Edges()
        self._waiting: list[bytes] = []
        self._lock = asyncio.Lock()  # in the order of asking
        self._saying: set[asyncio.Task[None]] = set()

    async def carry(self, data: bytes) -> None:
        """The worker's own words."""
        async with self._lock:
            edge = self._edges.last_in(data)
            if edge and self._waiting:
                data = data[:edge] + b"".join(self._waiting) + data[edge:]
                self._waiting.clear()
            await self._send(data)

    def say(self, message: WorkerMessage) -> None:
        """In its name, after what was said before."""
        saying = asyncio.create_task(self._say(encode(message)))
        self._saying.add(saying)
        saying.add_done_callback(self._saying.discard)

    async def _say(self, frame: bytes) -> None:
        async with self._lock:
            if not (self._edges.is_between and self._edges.has_one):
                self._waiting.append(frame)
                return
            with contextlib.suppress(OSError):  # the gateway has given it up
                await self._send(frame)
