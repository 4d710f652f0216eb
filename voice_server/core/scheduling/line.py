"""A line that keeps its order though the urgency of those who wait changes. Pure.

Who becomes more urgent has to be put in again; who becomes less urgent is seen to when it comes to the head. So the
line costs a logarithm for each change, not a look at everyone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

_STALE = 16  # entries that are borne beside as many again as there are streams


class Line:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []  # one that is not the stream's key any more is stale
        self._keys: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, stream: int) -> bool:
        return stream in self._keys

    def put(self, stream: int, key: float) -> None:
        """Into the line, or further to the front."""
        if key < self._keys.get(stream, float("inf")):
            self._push(stream, key)

    def leave(self, stream: int) -> None:
        self._keys.pop(stream, None)

    def head(self, key_now: Callable[[int], float | None]) -> int | None:
        """Who is first; whoever has no key (None) any more leaves the line on the way."""
        while self._heap:
            key, stream = self._heap[0]
            if self._keys.get(stream) != key:
                heapq.heappop(self._heap)
                continue
            true_key = key_now(stream)
            if true_key is not None and true_key <= key:
                return stream
            heapq.heappop(self._heap)
            self._keys.pop(stream)
            if true_key is not None:
                self._push(stream, true_key)
        return None

    def _push(self, stream: int, key: float) -> None:
        self._keys[stream] = key
        heapq.heappush(self._heap, (key, stream))
        if len(self._heap) > 2 * len(self._keys) + _STALE:  # where nobody asks for the head, nothing else is cleared
            self._heap = [(key, stream) for stream, key in self._keys.items()]
            heapq.heapify(self._heap)
