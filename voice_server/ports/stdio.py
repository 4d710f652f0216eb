"""Standard input and output as a conversation in packets, and nothing but packets.

Promises: what anything in this process or its children prints goes to standard error, never between two packets;
packets are written whole, one after the other; the end of either pipe is noticed at once, also while nothing is read.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from voice_server.core.doors.limits import PortLimits
from voice_server.ports.packets import BadPacket, PacketDecoder, packet

_STDIN, _STDOUT, _STDERR = range(3)


def claim_stdio() -> tuple[int, int]:
    """The pipes as file descriptors of our own. From now on reading 0 finds nothing, and writing 1 is writing 2."""
    ours = os.dup(_STDIN), os.dup(_STDOUT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, _STDIN)
    os.close(nothing)
    os.dup2(_STDERR, _STDOUT)
    return ours


class NotPipes(Exception):
    """Standard input or output is a file."""


class Pipes:
    """Both directions. `over` is set when the peer is gone, or when nothing it says can be understood any more."""

    def __init__(self, limits: PortLimits, *, counts_itself: bool) -> None:
        self.over = asyncio.Event()
        self.problem: BadPacket | None = None  # what the peer did wrong, if that is why it is over
        self._limits = limits
        self._counts_itself = counts_itself
        self._decoder = PacketDecoder(limits.packet_bytes, counts_itself=counts_itself)
        self._bodies: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()
        self._reading: asyncio.ReadTransport | None = None
        self._writing: asyncio.WriteTransport | None = None

    async def open(self, read_fd: int, write_fd: int) -> None:
        """Begin. Raises NotPipes."""
        loop = asyncio.get_running_loop()
        try:
            self._writing, _ = await loop.connect_write_pipe(lambda: _Outgoing(self), os.fdopen(write_fd, "wb", 0))
            self._reading, _ = await loop.connect_read_pipe(lambda: _Incoming(self), os.fdopen(read_fd, "rb", 0))
        except ValueError as error:
            raise NotPipes("a port speaks through pipes: let a program start it") from error

    async def receive(self) -> bytes:
        """The next body; waits for ever after the last one: see `over`."""
        while not self._bodies:
            self._arrived.clear()
            await self._arrived.wait()
        body = self._bodies.popleft()
        self._waiting_bytes -= len(body)
        if self._reading and not self.problem and self._waiting_bytes <= self._limits.waiting_bytes:
            self._reading.resume_reading()
        return body

    def send(self, body: bytes) -> None:
        """Hand a packet over, of any size. Who still has not read those before it is taken for gone."""
        if not self._writing or self._closed.is_set():
            return
        if self._writing.get_write_buffer_size() > self._limits.unread_bytes:
            self.over.set()
        else:
            self._writing.write(packet(body, counts_itself=self._counts_itself))

    async def drain(self) -> None:
        """Returns when the peer has taken nearly all of it."""
        await self._writable.wait()

    async def close(self) -> None:
        """Let the peer take the rest, if it does soon."""
        if self._reading:
            self._reading.close()
        if self._writing:
            self._writing.close()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._closed.wait(), self._limits.farewell_s)

    # The transports

    def on_data(self, data: bytes) -> None:
        with self._noting_problems():
            for body in self._decoder.feed(data):
                self._bodies.append(body)
                self._waiting_bytes += len(body)
                self._arrived.set()
        if self._reading and (self.problem or self._waiting_bytes > self._limits.waiting_bytes):
            self._reading.pause_reading()

    def on_end(self) -> None:
        with self._noting_problems():
            self._decoder.end()
        self.over.set()

    def on_writable(self, can_write: bool) -> None:
        (self._writable.set if can_write else self._writable.clear)()

    def on_closed(self) -> None:
        self._closed.set()
        self._writable.set()
        self.over.set()

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        """It is over with the first one; the good packets before it have arrived."""
        try:
            yield
        except BadPacket as problem:
            self.problem = self.problem or problem
            self.over.set()


class _Incoming(asyncio.Protocol):
    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes

    def data_received(self, data: bytes) -> None:
        self._pipes.on_data(data)

    def eof_received(self) -> None:
        self._pipes.on_end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipes.on_end()


class _Outgoing(asyncio.BaseProtocol):
    def __init__(self, pipes: Pipes) -> None:
        self._pipes = pipes

    def pause_writing(self) -> None:
        self._pipes.on_writable(False)

    def resume_writing(self) -> None:
        self._pipes.on_writable(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pipes.on_closed()
