"""The audio of a hearing that is not settled text yet: what another worker would have to be told again.

Promises: holds at most `most_bytes`; what is older is lost, and then `is_whole` is False. PCM s16le.
"""

from __future__ import annotations

from collections import deque

from voice_server.core.audio.pcm import duration_s


class KeptAudio:
    def __init__(self, sample_rate: int, most_bytes: int) -> None:
        self._sample_rate = sample_rate
        self._most_bytes = most_bytes
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self.begin_bytes = 0  # of all that was pushed, where the kept audio begins
        self.is_whole = True

    @property
    def begin_s(self) -> float:
        return duration_s(self.begin_bytes, self._sample_rate)

    @property
    def pieces(self) -> list[bytes]:
        return list(self._pieces)

    def push(self, pcm: bytes) -> None:
        self._pieces.append(pcm)
        self._bytes += len(pcm)
        while self._bytes > self._most_bytes:
            self.is_whole = False
            self._drop_first()

    def settle(self, at_s: float) -> None:
        """Nothing before this instant, counted from the first sample ever pushed, is needed any more."""
        settled = round(at_s * self._sample_rate) * 2
        while self._pieces and self.begin_bytes + len(self._pieces[0]) <= settled:
            self._drop_first()
        if self._pieces and self.begin_bytes < settled:
            cut = settled - self.begin_bytes
            self._pieces[0] = self._pieces[0][cut:]
            self._bytes -= cut
            self.begin_bytes = settled
        self.is_whole = self.is_whole or self.begin_bytes <= settled

    def _drop_first(self) -> None:
        first = self._pieces.popleft()
        self._bytes -= len(first)
        self.begin_bytes += len(first)
