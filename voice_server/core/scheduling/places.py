"""The places in line: which answers, or hearings, wait to begin; who is next, and who goes when the line is full. Pure.

A client that fills the line keeps nobody out: whoever has at least two fewer waiting takes the place of the latest
of the client that has the most. So a client is refused only where nobody has more than one place more than it has.
"""

from __future__ import annotations

from collections.abc import Mapping


class Places:
    def __init__(self) -> None:
        # By client, whose turn is next first: its streams, in the order they came.
        self._of: dict[str, dict[int, None]] = {}
        self._clients: dict[int, str] = {}  # by stream

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, stream: int) -> bool:
        return stream in self._clients

    def take(self, stream: int, client: str) -> None:
        self._clients[stream] = client
        self._of.setdefault(client, {})[stream] = None

    def leave(self, stream: int) -> None:
        client = self._clients.pop(stream, None)
        if client is not None:
            del self._of[client][stream]
            if not self._of[client]:
                del self._of[client]

    def pop(self, inside: Mapping[str, int]) -> int:
        """The next one leaves the line, and somebody is in it: of a client that has the fewest `inside`, in turns."""
        client = min(self._of, key=lambda client: inside.get(client, 0))
        stream = next(iter(self._of[client]))
        self.leave(stream)
        if client in self._of:
            self._of[client] = self._of.pop(client)  # the last one now
        return stream

    def loser(self, stream: int, client: str, room: int) -> int | None:
        """Who has to go if this stream comes, too: perhaps itself, and nobody (None) while there is room."""
        if len(self) < room:
            return None
        most = max(self._of.values(), key=len, default={})
        return next(reversed(most)) if len(most) >= len(self._of.get(client, {})) + 2 else stream
