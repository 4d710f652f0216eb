"""What a client says of its next answer while the current one is not complete: kept in order, said again then."""

from __future__ import annotations

from collections import deque
from enum import Enum

from voice_server.core.errors import TextTooLong
from voice_server.core.limits import TextLimits


class Mark(Enum):
    FLUSH = "flush"
    DONE = "done"


class Later:
    def __init__(self, limits: TextLimits) -> None:
        self._limits = limits
        self._said: deque[str | Mark] = deque()
        self._chars = 0

    def __bool__(self) -> bool:
        return bool(self._said)

    def check(self, text: str) -> None:
        """Whether there is room for it. Raises TextTooLong."""
        if self._chars + len(text) > self._limits.pending_chars:
            raise TextTooLong(f"{self._limits.pending_chars} characters wait already", field="token")

    def push(self, text: str) -> None:
        """Raises TextTooLong; the text was not taken then."""
        self.check(text)
        self._chars += len(text)
        self._said.append(text)

    def mark(self, mark: Mark) -> bool:
        """A mark behind nothing, or behind one that says as much, means nothing: False."""
        means_something = bool(self._said) and self._said[-1] not in (mark, Mark.DONE)
        if means_something:
            self._said.append(mark)
        return means_something

    def pop(self) -> str | Mark:
        said = self._said.popleft()
        if isinstance(said, str):
            self._chars -= len(said)
        return said

    def clear(self) -> None:
        self._said.clear()
        self._chars = 0
