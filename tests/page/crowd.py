"""Many clients at once, so that the pool has something to show."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TEXT = "This client has a lot to say. It never comes to an end. Its sentences follow each other, one after one. " * 20


@contextmanager
def crowd(port: int, size: int, backend: str) -> Iterator[None]:
    """So many clients, each with one long answer to hear, until the block ends."""
    sockets = [connect(f"ws://127.0.0.1:{port}/stream-tokens?backend={backend}", max_queue=None) for _ in range(size)]
    threads = [threading.Thread(target=_listen, args=(socket,)) for socket in sockets]
    try:
        for socket in sockets:
            socket.send(json.dumps({"token": TEXT, "done": True}))
        for thread in threads:
            thread.start()
        yield
    finally:
        for socket in sockets:
            socket.close()
        for thread in threads:
            thread.join()


def _listen(socket: ClientConnection) -> None:
    try:
        for _ in socket:
            pass
    except ConnectionClosed:
        return
