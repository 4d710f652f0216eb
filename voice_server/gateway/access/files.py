"""A file that an operator may change while the server runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

_Stamp = tuple[tuple[int, int, int], ...]


class Watch:
    """Whether files have changed since the last look, at most once in `every_s`.

    Looking is a `stat` for each, which a local disk answers from memory: it may be done where a request waits.
    """

    def __init__(self, *paths: Path, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = paths
        self._every_s = every_s
        self._clock = clock
        self._looked_at = clock()
        self._stamp = self._look()

    def has_changed(self) -> bool:
        now = self._clock()
        if now - self._looked_at < self._every_s:
            return False
        self._looked_at = now
        seen, self._stamp = self._stamp, self._look()
        return self._stamp != seen

    def _look(self) -> _Stamp:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int]:
    """Of what the path leads to; zeros where that is nothing."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
