"""A reverse proxy as operators have one: it strips a prefix from the path and passes everything else on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 65536
IDLE_S = 60.0


@contextmanager
def prefix_proxy(prefix: str, port: int) -> Iterator[int]:
    """Its own port. What does not begin with the prefix is 404."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, prefix.encode(), port), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, prefix: bytes, port: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            client.settimeout(IDLE_S)
            threading.Thread(target=_serve, args=(client, prefix, port), daemon=True).start()


def _serve(client: socket.socket, prefix: bytes, port: int) -> None:
    with client, suppress(OSError):
        head = _head(client)
        method, _, rest = head.partition(b" ")
        if not rest.startswith(prefix + b"/"):
            client.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port), IDLE_S) as server:
            server.sendall(method + b" " + _once(rest.removeprefix(prefix)))
            threading.Thread(target=_pipe, args=(client, server), daemon=True).start()
            _pipe(server, client)


def _head(client: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (piece := client.recv(PIECE)):
        data += piece
    return data


def _once(request: bytes) -> bytes:
    """One request for each connection, so that no later one gets past us with its prefix; WebSockets stay."""
    return request.replace(b"Connection: keep-alive", b"Connection: close", 1)


def _pipe(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
