"""The seam between a terminal program and a server: the messages of docs/stream-tokens.md, however they travel."""

from __future__ import annotations

import json
import ssl
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from voice_server.core.errors import BadMessage, VoiceError
from voice_server.core.limits import TerminalLimits

HINTS = {  # what to do about a refusal
    401: ": give its token with --token",
    403: ": it does not know itself by that name; its operator adds it with --host-name",
    429: ": you have used up what you may in a minute",
}
UNTRUSTED = "its certificate is not trusted here; name the file of its authority in SSL_CERT_FILE"


class Session(Protocol):
    """One conversation. A peer that is gone shows in `receive` only; `send` to it does nothing."""

    async def send(self, message: dict[str, Any]) -> None: ...

    async def receive(self) -> dict[str, Any] | bytes | None: ...  # None: closed

    async def close(self) -> None: ...


class CannotConnect(VoiceError):
    code = "cannot_connect"


class RemoteSession:
    """A session with a server elsewhere."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @property
    def was_lost(self) -> bool:
        """It is closed, and not because the server said goodbye."""
        return self._socket.close_code is not None and self._socket.protocol.close_rcvd is None

    async def send(self, message: dict[str, Any]) -> None:
        try:
            await self._socket.send(json.dumps(message))
        except ConnectionClosed:
            return

    async def receive(self) -> dict[str, Any] | bytes | None:
        """Raises BadMessage when the server speaks something else."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed:
            return None
        return message if isinstance(message, bytes) else _decode(message)

    async def close(self) -> None:
        await self._socket.close()


async def connect_remote(
    url: str, *, token: str = "", limits: TerminalLimits | None = None, **query: object
) -> RemoteSession:
    """Raises CannotConnect, whose message a person can act on."""
    limits = limits or TerminalLimits()
    try:
        socket = await connect(
            with_query(url, **query),
            additional_headers={"Authorization": f"Bearer {token}"} if token else None,
            compression=None,  # PCM does not compress
            max_size=limits.message_bytes,
            open_timeout=limits.connect_s,
        )
    except InvalidStatus as error:
        raise CannotConnect(_refusal(url, error.response.status_code)) from error
    except ssl.SSLCertVerificationError as error:  # a ValueError, too
        raise CannotConnect(f"cannot reach {url}: {UNTRUSTED}") from error
    except (InvalidURI, ValueError) as error:
        raise CannotConnect(f"{url} is no WebSocket address: it starts with ws:// or wss://") from error
    except (OSError, TimeoutError, WebSocketException) as error:
        raise CannotConnect(f"cannot reach {url}: {_reason(error)}") from error
    return RemoteSession(socket)


def with_query(url: str, **query: object) -> str:
    """The address with the given parameters added, or put in the place of its own."""
    parts = urlsplit(url)
    wanted = dict(parse_qsl(parts.query)) | {name: str(value) for name, value in query.items()}
    return urlunsplit(parts._replace(query=urlencode(wanted)))


def _refusal(url: str, status: int) -> str:
    return f"{url} refused with HTTP {status}{HINTS.get(status, '')}"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or "no such host or port"
    return "it does not speak WebSocket"


def _decode(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessage("the server sent something that is no message of /stream-tokens") from error
