"""Many clients at once, so that the pool has something to show."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

TEXT = "This client has a lot to say. It never comes to an end. Its sentences follow each other, one after one. " * 20


@contextmanager
def crowd(port: int, size: int, backend: str) -> Iterator[None]:
    """So many clients, each with one long answer to hear, until the block ends."""
    url = f"ws://127.0.0.1:{port}/stream-tokens?backend={backend}"
    with ExitStack() as clients:
        for _ in range(size):
            socket = clients.enter_context(connect(url, max_queue=None))
            socket.send(json.dumps({"token": TEXT, "done": True}))
            listener = threading.Thread(target=_listen, args=(socket,))
            listener.start()
            clients.callback(listener.join)
            clients.callback(socket.close)
        yield


def _listen(socket: ClientConnection) -> None:
    try:
        for _ in socket:
            pass
    except ConnectionClosed:
        return
