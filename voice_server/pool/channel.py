"""Frames over a worker's socket: bytes in → messages, messages → bytes out, and who does not read is cut off.

The end of a channel is told once: broken by the peer (a bad frame, a deaf ear), or closed, which its death explains.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol, cast

from voice_server.core.limits import WorkerLimits
from voice_server.wire.frames import FrameDecoder, encode
from voice_server.wire.messages import Message, WireError


class ChannelOwner(Protocol):
    def on_message(self, message: Message) -> None: ...

    def on_channel_broken(self, reason: str) -> None: ...

    def on_channel_closed(self) -> None: ...


class Channel(asyncio.Protocol):
    def __init__(self, owner: ChannelOwner, limits: WorkerLimits) -> None:
        self._owner = owner
        self._limits = limits
        self._decoder = FrameDecoder(limits.audio_frame_bytes, limits.control_frame_bytes)
        self._transport: asyncio.Transport | None = None
        self._deaf_timer: asyncio.TimerHandle | None = None
        self._closed = False

    @classmethod
    async def open(cls, sock: socket.socket, owner: ChannelOwner, limits: WorkerLimits) -> Channel:
        loop = asyncio.get_running_loop()
        _, channel = await loop.create_unix_connection(lambda: cls(owner, limits), sock=sock)
        return channel

    def send(self, message: Message) -> None:
        if self._transport and not self._closed:
            self._transport.write(encode(message))

    def close(self) -> None:
        """Drop the connection without telling the owner, who knows."""
        self._closed = True
        self._stop_timer()
        if self._transport:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._decoder.feed(data):
                if self._closed:
                    return
                self._owner.on_message(message)
        except WireError as broken:
            self._break(f"broke the protocol: {broken}")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closed:
            self.close()
            self._owner.on_channel_closed()

    def pause_writing(self) -> None:
        loop = asyncio.get_running_loop()
        self._deaf_timer = loop.call_later(self._limits.write_s, self._break, "does not read its commands")

    def resume_writing(self) -> None:
        self._stop_timer()

    def _break(self, reason: str) -> None:
        if not self._closed:
            self.close()
            self._owner.on_channel_broken(reason)

    def _stop_timer(self) -> None:
        if self._deaf_timer:
            self._deaf_timer.cancel()
            self._deaf_timer = None
