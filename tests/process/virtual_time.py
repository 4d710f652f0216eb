"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours pass in milliseconds."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(_JumpingSelector(self))
        self._now = 1000.0

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, Any]] = super().select(0)
        if not ready and timeout:
            self._loop.jump(timeout)
        assert ready or timeout is not None, "nothing will ever happen: somebody waits for ever"
        return ready
