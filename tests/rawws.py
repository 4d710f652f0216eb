"""A WebSocket client that says anything, byte by byte: frames by hand (RFC 6455 §5.2), right or wrong."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.harness import TIMEOUT_S

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of the RFC's own example


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def close_code(self) -> int | None:
        return struct.unpack(">H", self.payload[:2])[0] if len(self.payload) >= 2 else None


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
    length_bytes: int | None = None,
) -> bytes:
    """`length` is what it says of itself; `length_bytes` (0, 2 or 8) how it says so, the shortest way by default."""
    size = len(payload) if length is None else length
    width = length_bytes if length_bytes is not None else 0 if size < 126 else 2 if size < 2**16 else 8
    head = bytes([fin << 7 | rsv << 4 | opcode, masked << 7 | {0: size & 0x7F, 2: 126, 8: 127}[width]])
    extended = size.to_bytes(width, "big") if width else b""
    return head + extended + (b"\0\0\0\0" if masked else b"") + payload  # a mask of zeros changes nothing


def text(message: dict[str, Any] | str | bytes) -> bytes:
    """A whole text message; a dict is sent as JSON."""
    if isinstance(message, dict):
        message = json.dumps(message)
    return frame(TEXT, message.encode() if isinstance(message, str) else message)


def fragments(payload: bytes, size: int, opcode: int = TEXT) -> list[bytes]:
    """One message in frames of `size` bytes."""
    parts = [payload[begin : begin + size] for begin in range(0, len(payload), size)] or [b""]
    last = len(parts) - 1
    return [frame(CONT if number else opcode, part, fin=number == last) for number, part in enumerate(parts)]


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack(">H", code) + reason)


def handshake(path: str = "/stream-tokens", *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {_KEY}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


class RawClient:
    """A TCP connection; after `upgrade`, a WebSocket.

    `receive_buffer` (bytes) makes it a client that does not take much unless it reads.
    """

    def __init__(self, port: int, *, receive_buffer: int = 0) -> None:
        self._port = port
        self._receive_buffer = receive_buffer
        self._socket = socket.socket()
        self._reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def __aenter__(self) -> RawClient:
        if self._receive_buffer:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        self._socket.setblocking(False)
        await asyncio.get_running_loop().sock_connect(self._socket, ("127.0.0.1", self._port))
        # As little as possible is read ahead of who asks.
        self._reader, self.writer = await asyncio.open_connection(
            sock=self._socket, limit=self._receive_buffer or 2**16
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    async def upgrade(self, path: str = "/stream-tokens", *headers: str) -> str:
        """The head of the answer. A refusal is one, too."""
        await self.send(handshake(path, *headers))
        head = await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)
        return head.decode("latin-1")

    async def send(self, *data: bytes) -> None:
        """Raises ConnectionError."""
        for part in data:
            self.writer.write(part)
            await asyncio.wait_for(self.writer.drain(), TIMEOUT_S)

    async def read_frame(self) -> Frame | None:
        """None at the end of the connection."""
        try:
            return await asyncio.wait_for(self._read_frame(), TIMEOUT_S)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def until(self, opcode: int) -> Frame | None:
        """The next frame of this kind; None when the connection ends before it."""
        while (got := await self.read_frame()) and got.opcode != opcode:
            pass
        return got

    async def until_text(self, **wanted: Any) -> dict[str, Any]:
        """The next message that has all of these; {} when the connection ends before it."""
        while got := await self.until(TEXT):
            message: dict[str, Any] = json.loads(got.payload)
            if wanted.items() <= message.items():
                return message
        return {}

    async def read_all(self) -> bytes:
        """Everything up to the end of the connection; empty when it was reset."""
        try:
            return await asyncio.wait_for(self._reader.read(-1), TIMEOUT_S)
        except ConnectionError:
            return b""

    async def _read_frame(self) -> Frame:
        first, second = await self._reader.readexactly(2)
        size, width = second & 0x7F, {126: 2, 127: 8}.get(second & 0x7F, 0)
        if width:
            size = int.from_bytes(await self._reader.readexactly(width), "big")
        return Frame(first & 0x0F, await self._reader.readexactly(size), bool(first & 0x80))
