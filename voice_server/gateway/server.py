"""uvicorn, taught three things: to cut off clients that do not read, to let answers finish at SIGTERM, to exit with 0.

Measured on uvicorn 0.54: `transport.close()` waits for ever to flush to a client that stopped reading, and SIGTERM
closes every WebSocket with 1012 within 10 ms.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from voice_server.core.limits import Limits
from voice_server.gateway.house import House
from voice_server.gateway.sockets import ABORT, CUT, SEND_AT_ONCE

_BACKLOG = 2048


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][ABORT] = {"call": self.transport.abort}
            self.scope["extensions"][SEND_AT_ONCE] = {"call": self.send_at_once}

    def send_at_once(self, data: bytes) -> bool:
        """What `send` does for a binary message, without its coroutines; False when it would have to wait or fail."""
        can_send = self.writable.is_set() and self.conn.state is State.OPEN and not self.transport.is_closing()
        if can_send:
            self.conn.send_binary(data)
            self.transport.write(b"".join(self.conn.data_to_send()))
        return can_send

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()


class _HttpProtocol(HttpToolsProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        # An answer that fails midway must not look complete; uvicorn's own way to end it so logs an error of ours.
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}, CUT: {"call": self.transport.close}}


Serve = Callable[[], Coroutine[Any, Any, asyncio.Server]]


class GatewayServer(uvicorn.Server):
    """`beside`: what starts the servers of other protocols, which listen as long as this one does. `tls`: for all
    sockets that it is given."""

    def __init__(
        self,
        house: House,
        app: Any,
        limits: Limits,
        beside: Sequence[Serve] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_HttpProtocol,
                ws=_WebSocketProtocol,
                ws_max_size=limits.text.message_bytes,
                ws_ping_interval=limits.stream.ping_s,
                ws_ping_timeout=limits.stream.ping_s,
                ws_per_message_deflate=False,  # PCM does not compress, and each compressor costs 34 KiB
                backlog=_BACKLOG,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=int(limits.worker.stop_s),
            )
        )
        self._house = house
        self._beside = beside
        self._tls = tls
        self._drain_s = limits.drain_s
        self._drain_until: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.ssl = self._tls
        await super().startup(sockets)
        for serve in self._beside:
            self.servers.append(await serve())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._beside and not self._house.is_evicted:
            self._house.evict()  # uvicorn closes its own connections only, and waits for all
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: drain. Second: leave now. Not recorded for uvicorn, which would raise it again at the end."""
        if self._drain_until is None and sig != signal.SIGINT:
            self._drain_until = time.monotonic() + self._drain_s
        else:
            self.force_exit = self._drain_until is not None
            self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; True ends the server."""
        if self._drain_until is None:
            return await super().on_tick(counter)
        self._drain()
        return self._house.is_empty or self.should_exit or self._is_patience_over()

    def _is_patience_over(self) -> bool:
        """Who is told to go has one more tick to hear it."""
        if self._house.is_evicted:
            return True
        if time.monotonic() >= (self._drain_until or 0.0):
            self._house.evict()
        return False

    def _drain(self) -> None:
        if not self._house.is_draining:
            for server in self.servers:
                server.close()
        self._house.drain()


def bind(host: str, port: int, limits: Limits) -> socket.socket:
    """The listening socket. Raises OSError.

    Every connection inherits its TCP options. Without TCP_NODELAY audio waits up to 40 ms for the client to acknowledge
    the message before it, and asyncio sets it only on sockets that were made with a protocol number.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        timeout_ms = int(limits.stream.tcp_user_timeout_s * 1000)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
