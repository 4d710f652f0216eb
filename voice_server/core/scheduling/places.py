"""The places in line: which answers wait to begin, and who of them goes when one more comes and the line is full. Pure.

A client that fills the line keeps nobody out: whoever has at least two fewer waiting takes the place of the latest
of the client that has the most. So a client is refused only where nobody has more than one place more than it has.
"""

from __future__ import annotations


class Places:
    def __init__(self) -> None:
        self._of: dict[str, dict[int, None]] = {}  # client -> its streams, in the order they came
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

    def loser(self, stream: int, client: str, room: int) -> int | None:
        """Who has to go if this stream comes, too: perhaps itself, and nobody (None) while there is room."""
        if len(self) < room:
            return None
        most = max(self._of.values(), key=len, default={})
        return next(reversed(most)) if len(most) >= len(self._of.get(client, {})) + 2 else stream
