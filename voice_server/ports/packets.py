"""Packets of a byte stream: 4 bytes of length, big-endian, then a body. Bytes in, bodies out; no pipe in here.

Two families are spoken. Erlang's `{packet, 4}` counts the body alone; VoxCPMEx counts the four bytes too. A length is
judged as soon as it is known, so a lying one costs no memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LENGTH = struct.Struct(">I")


class BadPacket(Exception):
    """Nobody knows where the next packet begins. The message is for the peer."""


def packet(body: bytes, *, counts_itself: bool) -> bytes:
    return _LENGTH.pack(len(body) + _LENGTH.size * counts_itself) + body


class PacketDecoder:
    """Cuts a byte stream into bodies of at most `most` bytes. After an error it is dead."""

    def __init__(self, most: int, *, counts_itself: bool) -> None:
        self._most = most
        self._header_bytes = _LENGTH.size if counts_itself else 0  # of what the length counts
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The bodies that `data` completes. Raises BadPacket, after the good ones before it."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + self._body_bytes()
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]  # CPython moves the start of a bytearray instead of copying the rest
            yield body

    def end(self) -> None:
        """The stream has ended. Raises BadPacket when that was in the middle of a packet."""
        if self._buffer:
            raise BadPacket("the stream ended in the middle of a packet")

    def _body_bytes(self) -> int:
        count = int(_LENGTH.unpack_from(self._buffer)[0]) - self._header_bytes
        if not 0 <= count <= self._most:
            raise BadPacket(f"a packet of {count + self._header_bytes} bytes: at most {self._most} are read")
        return count
