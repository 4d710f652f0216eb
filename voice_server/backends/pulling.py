"""Engines that push: a call that blocks until a sentence is whole, and tells on its way, as the host's iterator.

Promises: what the call puts comes out in order; what it raises is raised; once the iterator is closed the call's next
`put` raises, and closing waits until it has ended, so that the engine is free again.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any, Callable, Generator

import numpy as np
from numpy.typing import NDArray

Put = Callable[[NDArray[np.float32]], None]
NOTHING = np.zeros(0, np.float32)  # put it for work that cannot be heard: a cancel is obeyed there
_END = object()


class Closed(Exception):
    """Nobody wants the rest. Raised by `put`, out of the engine's call."""


def pulled(call: Callable[[Put], None]) -> Generator[NDArray[np.float32], None, None]:
    """The chunks that `call(put)` puts. It runs on a thread of its own, which ends with the iterator."""
    told: SimpleQueue[Any] = SimpleQueue()
    closed = threading.Event()

    def put(chunk: NDArray[np.float32]) -> None:
        if closed.is_set():
            raise Closed
        told.put(chunk)

    def run() -> None:
        try:
            call(put)
        except Exception as error:  # noqa: BLE001  # of whatever kind: it is raised where the chunks are wanted
            told.put(error)
        finally:
            told.put(_END)

    thread = threading.Thread(target=run, name="engine", daemon=True)
    thread.start()
    try:
        while (chunk := told.get()) is not _END:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk
    finally:
        closed.set()
        thread.join()
