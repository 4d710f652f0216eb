"""What one client was sent last, so that it can be sent again after the socket was lost.

Promises: holds at most `kept_bytes`, of which each message takes `entry_bytes` beside its content; `rewind` gives
exactly what came after a place, or raises and changes nothing. A place is so many bytes of audio and so many messages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from voice_server.core.errors import CannotResume
from voice_server.core.events import AudioChunk, Told
from voice_server.core.limits import ResumeLimits


class Tape:
    def __init__(self, limits: ResumeLimits) -> None:
        self._limits = limits
        self._told: deque[Told] = deque()
        self.kept_bytes = 0
        self.audio_bytes = 0  # that were sent in all
        self.messages = 0  # that were sent in all, audio not counted

    def append(self, told: Told) -> None:
        self._told.append(told)
        self._count(told, 1)
        self.kept_bytes += self._size(told)
        while self.kept_bytes > self._limits.kept_bytes:
            self.kept_bytes -= self._size(self._told.popleft())

    def rewind(self, audio_bytes: int, messages: int | None = None) -> list[Told]:
        """Takes back what was sent after this place, in order; the tape goes on from there.

        Without `messages`, those that stand right at the byte are taken back too: the client may lack them. Raises
        CannotResume.
        """
        after = list(self._after(audio_bytes, messages))[::-1]
        had = audio_bytes - self.audio_bytes + sum(_audio_bytes(told) for told in after)
        known = self.messages - sum(isinstance(told.message, str) for told in after)
        is_within_first = bool(after) and 0 < had < _audio_bytes(after[0])
        if (had and not is_within_first) or messages not in (None, known):
            raise CannotResume("what you lack is not kept any more, or was never sent: start a new stream")
        for _ in after:
            self._take_last()
        if had:
            before, after[0] = _split(after[0], had)
            self.append(before)
        return after

    def _after(self, audio_bytes: int, messages: int | None) -> Iterator[Told]:
        """From the last one back to the place."""
        at_bytes, at_messages = self.audio_bytes, self.messages
        for told in reversed(self._told):
            if isinstance(told.message, bytes):
                is_had = at_bytes <= audio_bytes
            else:
                is_had = at_bytes < audio_bytes if messages is None else at_messages <= messages
            if is_had:
                return
            at_bytes -= _audio_bytes(told)
            at_messages -= isinstance(told.message, str)
            yield told

    def _take_last(self) -> None:
        told = self._told.pop()
        self._count(told, -1)
        self.kept_bytes -= self._size(told)

    def _count(self, told: Told, sign: int) -> None:
        self.audio_bytes += sign * _audio_bytes(told)
        self.messages += sign * isinstance(told.message, str)

    def _size(self, told: Told) -> int:
        return len(told.message) + self._limits.entry_bytes


def _audio_bytes(told: Told) -> int:
    return len(told.message) if isinstance(told.message, bytes) else 0


def _split(told: Told, at: int) -> tuple[Told, Told]:
    """A client that reads a message in pieces may have its beginning."""
    assert isinstance(told.event, AudioChunk) and isinstance(told.message, bytes)
    parts = told.message[:at], told.message[at:]
    before, after = (Told(AudioChunk(told.event.index, part), part) for part in parts)
    return before, after
