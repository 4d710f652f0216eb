"""Watches the event loop from a thread: how late it is, always; and where it stood, when it was blocked.

One loop serves all listeners. What holds it up for 100 ms is heard by all of them, and looks from outside like slow
workers; so the log says which line of code it was.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from voice_server.core.limits import WatchdogLimits

_log = logging.getLogger(__name__)


@contextmanager
def watching(limits: WatchdogLimits, late: Callable[[float], None]) -> Iterator[None]:
    """Watch the running loop, on whose thread this is called. `late` is told seconds, on another thread."""
    watchdog = _Watchdog(limits, late)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.stop()


class _Watchdog:
    def __init__(self, limits: WatchdogLimits, late: Callable[[float], None]) -> None:
        self._limits = limits
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._alive = threading.Event()  # the loop has answered
        self._ended = threading.Event()
        self._told_at = -limits.told_every_s
        self._blocks = 0  # not told, since the last that was
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._alive.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self._limits.look_s):
            asked_at = time.monotonic()
            self._alive.clear()
            if self._ended.is_set():  # the loop waits for us in `stop`, whose word this may just have cleared
                return
            self._loop.call_soon_threadsafe(self._alive.set)
            if not self._alive.wait(self._limits.blocked_s):
                where = self._where()
                self._alive.wait()
                self._tell(time.monotonic() - asked_at, where)
            self._late(time.monotonic() - asked_at)

    def _where(self) -> str:
        frame = sys._current_frames().get(self._watched)
        return "".join(traceback.format_stack(frame)) if frame else ""

    def _tell(self, blocked_s: float, where: str) -> None:
        now = time.monotonic()
        self._blocks += 1
        if self._ended.is_set() or now - self._told_at < self._limits.told_every_s:
            return
        extra = {"blocked_ms": round(blocked_s * 1000), "blocks": self._blocks}
        _log.warning("the event loop was blocked; it stood here:\n%s", where.rstrip(), extra=extra)
        self._told_at, self._blocks = now, 0
