"""Answers that are not let in yet, and how many of each client are inside. Pure.

The next one is of the client that has the fewest answers inside: who opens a hundred streams waits behind himself.
"""

from __future__ import annotations


class Lobby:
    def __init__(self) -> None:
        self._waiting: dict[int, str] = {}  # stream -> client, in the order they came
        self._inside: dict[str, int] = {}  # by client

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, stream: int) -> bool:
        return stream in self._waiting

    def come(self, stream: int, client: str) -> None:
        self._waiting[stream] = client

    def give_up(self, stream: int) -> None:
        self._waiting.pop(stream, None)

    def enter(self, stream: int, client: str) -> None:
        self._waiting.pop(stream, None)
        self._inside[client] = self._inside.get(client, 0) + 1

    def leave(self, client: str) -> None:
        self._inside[client] -= 1
        if not self._inside[client]:
            del self._inside[client]

    @property
    def is_nobody_inside(self) -> bool:
        return not self._inside

    @property
    def next(self) -> int:
        return min(self._waiting, key=self._inside_of)

    @property
    def order(self) -> list[int]:
        """The streams as they would be let in now."""
        return sorted(self._waiting, key=self._inside_of)

    def _inside_of(self, stream: int) -> int:
        return self._inside.get(self._waiting[stream], 0)
