"""uvicorn, taught to let answers finish at SIGTERM, and to exit with 0; protocols.py teaches it about bad clients.

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
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from voice_server.core.limits import Limits
from voice_server.gateway.house import House
from voice_server.gateway.protocols import HttpProtocol, WebSocketProtocol

_BACKLOG = 2048


Serve = Callable[[], Coroutine[Any, Any, asyncio.Server]]


class GatewayServer(uvicorn.Server):
    """`beside`: what starts the servers of other protocols, which listen as long as this one does. `tls`: for all
    sockets that it is given. `proxies`: addresses and networks that are believed when they say who their client is."""

    def __init__(
        self,
        house: House,
        app: Any,
        limits: Limits,
        beside: Sequence[Serve] = (),
        tls: ssl.SSLContext | None = None,
        proxies: Sequence[str] = (),
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=cast(type[asyncio.Protocol], partial(HttpProtocol, limits=limits.stream)),
                ws=WebSocketProtocol,
                ws_max_size=limits.text.message_bytes,
                ws_ping_interval=limits.stream.ping_s,
                ws_ping_timeout=limits.stream.ping_s,
                ws_per_message_deflate=False,  # PCM does not compress, and each compressor costs 34 KiB
                backlog=_BACKLOG,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
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
        self._house.tethers.close()
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
