"""The tone backend, with faults on order: a file in a folder is an order, and the render that removes it plays it.

An order is a fault of the tone backend, or `garbage:NAME`: bytes of GARBAGE on the worker's own socket, in the middle
of a render. It is loaded by a worker, which knows nothing of the benches.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.tone import ToneBackend

GARBAGE: dict[str, bytes] = {
    "noise": bytes(range(255, -1, -1)) * 4,
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "endless": b"\xff\xff\xff\xff" + bytes(4_000_000),
    "empty": bytes(4),
    "not_msgpack": b"\x00\x00\x00\x01\xc1",
    "not_a_map": b"\x00\x00\x00\x01\x90",
    "nested": b"\x00\x00\xc3\x51" + b"\x91" * 50_000 + b"\xc0",
    "billion_items": b"\x00\x00\x00\x05\xdd\x3f\xff\xff\xff",
}


class FaultyTone(ToneBackend):
    """`orders`: the folder. Every other option is the tone backend's."""

    def __init__(self, device: str = "cpu", *, orders: str, **options: Any) -> None:
        super().__init__(device, **options)
        self._orders = Path(orders)

    def render(self, text: str, voice: str, *, speed: float = 1.0, fault: str = "") -> Iterator[NDArray[np.float32]]:
        kind, _, name = self._take_order().partition(":")
        if kind == "garbage":
            return _interrupted(super().render(text, voice, speed=speed), GARBAGE[name])
        return super().render(text, voice, speed=speed, fault=f"{kind}:{name}" if kind else fault)

    def _take_order(self) -> str:
        """ "" where there is none. Of several workers that see it, the one that removes it has it."""
        for order in sorted(self._orders.iterdir()):
            try:
                text = order.read_text("utf-8")
                order.unlink()
            except FileNotFoundError:
                continue
            return text
        return ""


def _interrupted(chunks: Iterator[NDArray[np.float32]], garbage: bytes) -> Iterator[NDArray[np.float32]]:
    yield next(chunks)
    _say(garbage)
    yield from chunks


def _say(data: bytes) -> None:
    """Past everything that keeps a worker's words in form: the gateway hung up before it was all said, as a rule."""
    with contextlib.suppress(OSError):
        os.write(int(sys.argv[1]), data)  # as bootstrap.py was told
