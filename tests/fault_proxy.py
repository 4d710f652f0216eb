"""A TCP proxy that does to a connection what networks do: delays, dribbles, resets, falls silent, closes one half.

async with fault_proxy(port) as proxy:
    proxy.delay_s = 0.05           # of everything, both ways
    proxy.bytes_per_s = 10_000     # both ways
    proxy.slice_bytes = 1          # a packet each
    ...connect to proxy.port...
    proxy.blackhole()              # nothing goes through any more, and nobody is told
    proxy.reset()                  # both sides get an RST
    proxy.half_close()             # the server gets an EOF; its own words still arrive
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_PIECE_BYTES = 64 * 1024
_RST = struct.pack("ii", 1, 0)  # SO_LINGER: closing throws away what was not sent, and says so


class FaultProxy:
    def __init__(self, to_port: int) -> None:
        self.delay_s = 0.0
        self.bytes_per_s = 0  # 0: as fast as it goes
        self.slice_bytes = _PIECE_BYTES
        self.port = 0
        self._to_port = to_port
        self._links: set[_Link] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_PIECE_BYTES)
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        self._is_open.set()
        links = list(self._links)
        self.reset()
        await asyncio.gather(*(link.ended for link in links), return_exceptions=True)

    def blackhole(self) -> None:
        """From now on nothing goes through; what arrives is not even taken from the kernel."""
        self._is_open.clear()

    def reset(self) -> None:
        for link in list(self._links):
            link.reset()

    def half_close(self) -> None:
        for link in list(self._links):
            link.half_close()

    async def pass_on(self, data: bytes, to: asyncio.StreamWriter) -> None:
        for begin in range(0, len(data), self.slice_bytes):
            part = data[begin : begin + self.slice_bytes]
            await asyncio.sleep(self.delay_s + (len(part) / self.bytes_per_s if self.bytes_per_s else 0))
            await self._is_open.wait()
            to.write(part)
            await to.drain()

    async def until_open(self) -> None:
        await self._is_open.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port, limit=_PIECE_BYTES)
        link = _Link(self, (reader, writer), (far_reader, far_writer))
        self._links.add(link)
        try:
            await link.ended
        finally:
            self._links.discard(link)


_Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """A client's connection, and the one to the server."""

    def __init__(self, proxy: FaultProxy, near: _Side, far: _Side) -> None:
        self._proxy = proxy
        self._near = near
        self._far = far
        self._up = asyncio.create_task(self._carry(near[0], far[1]))
        self._down = asyncio.create_task(self._carry(far[0], near[1]))
        self.ended = asyncio.ensure_future(self._run())

    def reset(self) -> None:
        for _, writer in (self._near, self._far):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
            writer.transport.abort()

    def half_close(self) -> None:
        self._up.cancel()
        self._far[1].write_eof()

    async def _run(self) -> None:
        await asyncio.wait([self._up, self._down])
        for _, writer in (self._near, self._far):
            writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(_PIECE_BYTES):
                await self._proxy.pass_on(data, to)
                await self._proxy.until_open()
            to.write_eof()


@asynccontextmanager
async def fault_proxy(to_port: int) -> AsyncIterator[FaultProxy]:
    proxy = FaultProxy(to_port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
