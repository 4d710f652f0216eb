"""An internet of this machine: hosts by name with addresses that look public, and one HTTPS server behind all of them.

What is real: the resolver's answers as they would come, TLS with certificates of an authority of our own, HTTP over a
socket. Only the last step is bent: a connection to any address ends at the server, and is written down.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpcore
import trustme

PUBLIC = "93.184.215.14"
HOST = "files.example.com"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Internet(httpcore.AsyncNetworkBackend):
    """`answers`: what the resolver says, one list of addresses a question; the last one stays."""

    port: int
    tls: ssl.SSLContext  # of who trusts our authority
    answers: list[Sequence[str]] = field(default_factory=lambda: [[PUBLIC]])
    dead: Sequence[str] = ()  # addresses at which nobody answers
    questions: list[str] = field(default_factory=list)
    connected: list[tuple[str, int]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)  # heads, as the server got them
    names: list[str] = field(default_factory=list)  # that TLS was asked for

    async def resolve(self, host: str) -> Sequence[str]:
        self.questions.append(host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer:
            raise OSError("no such host")
        return answer

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("nobody is there")
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout)


def answer(body: bytes, status: str = "200 OK", **head: object) -> Serve:
    """A server that says this to whoever asks."""
    told = {"content-length": len(body), "connection": "close", **{key.replace("_", "-"): v for key, v in head.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body)

    return serve


def endless(piece: bytes, pause_s: float = 0.0, head: str = "") -> Serve:
    """A server that never comes to an end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return serve


@asynccontextmanager
async def internet(serve: Serve, host: str = HOST) -> AsyncIterator[Internet]:
    """`host`: for which the server has a certificate."""
    authority, client, server = trustme.CA(), ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    authority.issue_cert(host).configure_cert(server)
    net = Internet(0, client)
    server.sni_callback = lambda _, name, __: net.names.append(name)

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            net.requests.append(await reader.readuntil(b"\r\n\r\n"))
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(attend, "127.0.0.1", 0, ssl=server)
    net.port = listening.sockets[0].getsockname()[1]
    try:
        yield net
    finally:
        listening.close()
        await listening.wait_closed()
