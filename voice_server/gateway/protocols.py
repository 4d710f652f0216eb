"""One connection as uvicorn speaks with it, taught what a hostile client may cost.

Promises: who does not say what it wants within `head_s`, or at more length than `head_bytes`, is cut off; what a client
sends never makes more of it wait in memory than a message has; and a mistake of the client is none in our log.

Measured on uvicorn 0.54: the head of a request may take for ever and have any size; a handshake that websockets refuses
to read is never answered; who pings and does not read fills the memory with pongs, and empty fragments fill it with
nothing; text that is no UTF-8 is logged with a traceback, and each refused handshake as an error.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame
from websockets.http11 import Request
from websockets.protocol import State

from voice_server.core.limits import StreamLimits
from voice_server.gateway.sockets import ABORT, CUT, SEND_AT_ONCE, TETHER

_REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    _pongs = b""  # that wait until the client reads again
    _parted: asyncio.Event | None = None  # of the one who waits for it

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc and not self.handshake_initiated:  # it could not even be read
            self.transport.write(_REFUSAL)
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][ABORT] = {"call": self.transport.abort}
            self.scope["extensions"][SEND_AT_ONCE] = {"call": self.send_at_once}
            self.scope["extensions"][TETHER] = {"socket": self}

    async def send(self, message: Any) -> None:
        """A handshake that was refused with an answer is complete; uvicorn would log it as a mistake of the app."""
        await super().send(message)
        if self.initial_response and self.close_sent:
            self.handshake_complete = True

    def send_at_once(self, data: bytes) -> bool:
        """What `send` does for a binary message, without its coroutines; False when it would have to wait or fail."""
        can_send = self.writable.is_set() and self.conn.state is State.OPEN and not self.transport.is_closing()
        if can_send:
            self.conn.send_binary(data)
            self.transport.write(b"".join(self.conn.data_to_send()))
        return can_send

    def expel(self, text: str, code: int) -> None:
        """Last words for who can hear them now; `transport.close` would wait for those who cannot."""
        if self.writable.is_set() and self.conn.state is State.OPEN and not self.transport.is_closing():
            self.conn.send_text(text.encode())
            self.conn.send_close(code)
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.abort()

    def shorten(self, send_bytes: int) -> None:
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)

    async def until_parted(self) -> bool:
        if not (self.disconnected or self._has_said_goodbye):
            self._parted = asyncio.Event()
            await self._parted.wait()
        return self._has_said_goodbye

    def handle_close(self, event: Frame) -> None:
        super().handle_close(event)
        self._part()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._part()

    @property
    def _has_said_goodbye(self) -> bool:
        """Or has broken the rules, which is no accident of the network either."""
        return self.conn.close_rcvd is not None or self.conn.parser_exc is not None

    def _part(self) -> None:
        if self._parted:
            self._parted.set()

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.transport.abort()

    def handle_ping(self) -> None:
        """While the client does not read, only its newest pings are answered (RFC 6455, 5.5.3)."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self._pongs = b"".join(self.conn.data_to_send()) or self._pongs

    def resume_writing(self) -> None:
        super().resume_writing()
        self.transport.write(self._pongs)
        self._pongs = b""

    def handle_cont(self, event: Frame) -> None:
        """An empty fragment adds nothing to a message, and no limit counts it."""
        if event.data or event.fin:
            super().handle_cont(event)

    def handle_parser_exception(self) -> None:
        """Who is sent away hears why: closing while something is unread resets a connection, and the reason is lost.

        So only our side of it is closed, and what still comes is thrown away for a while.
        """
        if self.close_sent:
            return
        if not self.transport.can_write_eof():  # TLS
            super().handle_parser_exception()
            return
        assert self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": self.conn.close_sent.code})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        self.close_sent = True
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent and not _is_utf8(self.frames):
            self.conn.fail(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()


def _is_utf8(parts: Iterable[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True


class HttpProtocol(HttpToolsProtocol):
    """Its clock runs while no request is being answered: until a whole head is there."""

    def __init__(self, *, limits: StreamLimits, **given: Any) -> None:
        super().__init__(**given)
        self._limits = limits
        self._head_bytes = 0  # of a head that is not complete
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        is_body = self.cycle is not None and self.cycle.more_body  # perhaps of a request that was refused unread
        super().data_received(data)
        if self._head_timer and not is_body and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes:
                self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        # An answer that fails midway must not look complete; uvicorn's own way to end it so logs an error of ours.
        self.scope["extensions"] = {ABORT: {"call": self.transport.abort}, CUT: {"call": self.transport.close}}

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._limits.head_bytes:
            raise ValueError("the head of the request is too large")  # uvicorn answers 400
        super().on_headers_complete()
        self._stop_clock()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # none is waiting behind it
            self._await_head()

    def _await_head(self) -> None:
        self._stop_clock()
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(self._limits.head_s, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
            self._head_timer = None
