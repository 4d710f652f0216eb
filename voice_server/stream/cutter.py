"""Cuts the text of an answer into what is spoken as one piece, and says when a model has stalled long enough."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voice_server.core.limits import TextLimits
from voice_server.core.text.sentences import SentenceSplitter, join_short, split_clause


class Cutter:
    """`take(piece)` gets the pieces, in order.

    `is_awaited()`: the listener has nothing else to hear, so a short sentence is not made longer. `may_hurry()`: even a
    clause may go ahead of its sentence.
    """

    def __init__(
        self,
        limits: TextLimits,
        take: Callable[[str], None],
        is_awaited: Callable[[], bool],
        may_hurry: Callable[[], bool],
    ) -> None:
        self._limits = limits
        self._take = take
        self._is_awaited = is_awaited
        self._may_hurry = may_hurry
        self._loop = asyncio.get_running_loop()
        self._splitter = SentenceSplitter(limits)
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> str:
        """The text that is not part of any piece yet."""
        return self._splitter.pending

    def push(self, text: str) -> None:
        self._cut(self._hurried(self._splitter.push(text)))
        if self._splitter.is_doubtful:
            self._idle_timer = self._loop.call_later(self._limits.idle_s, self._on_idle)

    def flush(self) -> None:
        """What was pushed so far is a whole sentence."""
        self._cut(self._hurried(self._splitter.flush()))

    def clear(self) -> None:
        """A new answer begins; what is pending is dropped."""
        self._stop_idle_timer()
        self._splitter.flush()

    def _cut(self, pieces: list[str]) -> None:
        self._stop_idle_timer()
        for piece in join_short(pieces, first=self._is_awaited()):
            self._take(piece)

    def _hurried(self, pieces: list[str]) -> list[str]:
        """An answer's first clause goes ahead of its sentence."""
        if not self._may_hurry():
            return pieces
        if pieces:
            return [*split_clause(pieces[0], self._limits), *pieces[1:]]
        clause = self._splitter.take_clause()
        return [clause] if clause else []

    def _on_idle(self) -> None:
        self._idle_timer = None
        self._cut(self._splitter.idle())

    def _stop_idle_timer(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
            self._idle_timer = None
