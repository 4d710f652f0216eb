"""Whose text kills workers: the sentences that killed two each, by client, until they are forgiven. Pure."""

from __future__ import annotations

from collections import deque


class Charges:
    """`most` in `window_s` are too many. Nobody ("") is never charged."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most = most
        self._window_s = window_s
        self._at: dict[str, deque[float]] = {}  # by client, when; oldest first

    def add(self, client: str, now: float) -> None:
        self._forgive(now)
        if client:
            self._at.setdefault(client, deque(maxlen=self._most)).append(now)

    def are_too_many(self, client: str, now: float) -> bool:
        self._forgive(now)
        return len(self._at.get(client, ())) >= self._most

    def _forgive(self, now: float) -> None:
        """Cheap: only those are here whose text has killed."""
        for client, times in list(self._at.items()):
            while times and times[0] <= now - self._window_s:
                times.popleft()
            if not times:
                del self._at[client]
