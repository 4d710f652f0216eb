"""How long an answer waits in line, and what its client is told meanwhile.

Its place is told at once and, while it waits, again when it changed clearly; patience ends with an error. A backend
that loads costs no patience: then nobody knows how long it takes, and the client was told why it waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voice_server.core.errors import Overloaded, VoiceError
from voice_server.core.events import SentenceQueued
from voice_server.core.limits import StreamLimits
from voice_server.pool.dispatcher import Dispatcher


class Patience:
    """Of one stream, for `wait_s`. `tell` gets what the client shall know; `give_up` comes once, when it is over."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        stream: int,
        limits: StreamLimits,
        wait_s: float,
        tell: Callable[[SentenceQueued], None],
        give_up: Callable[[VoiceError], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._stream = stream
        self._limits = limits
        self._wait_s = wait_s
        self._tell = tell
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ends_at = 0.0
        self._told: SentenceQueued | None = None

    def begin(self) -> None:
        """The answer's next sentence was submitted: it may have to wait."""
        if self._timer is None:
            self._ends_at = self._loop.time() + self._wait_s
            self._look()

    def end(self) -> None:
        """A worker took it, or nobody wants it any more."""
        if self._timer:
            self._timer.cancel()
        self._timer = self._told = None

    def _look(self) -> None:
        queued = self._queued()
        if queued is None:
            self.end()
            return
        if self._told is None or self._is_news(queued, self._told):
            self._told = queued
            self._tell(queued)
        self._wait_on()

    def _queued(self) -> SentenceQueued | None:
        place = self._dispatcher.place(self._stream)
        if place is None:
            return None
        return SentenceQueued(place.position, "busy" if self._dispatcher.has_workers else "loading", place.eta_s)

    def _is_news(self, queued: SentenceQueued, told: SentenceQueued) -> bool:
        if (queued.position, queued.reason) != (told.position, told.reason):
            return True
        if queued.eta_s is None or told.eta_s is None:
            return queued.eta_s is not told.eta_s
        return abs(queued.eta_s - told.eta_s) > self._limits.queued_eta_change * told.eta_s

    def _wait_on(self) -> None:
        now = self._loop.time()
        if not self._dispatcher.has_workers:
            self._ends_at = now + self._wait_s
        if now >= self._ends_at:
            eta_s = self._told.eta_s if self._told else None
            self.end()
            told = f"no worker was free for {self._wait_s:g} s; try again later"
            self._give_up(Overloaded(told, retry_after_s=eta_s))
        else:
            self._timer = self._loop.call_later(min(self._limits.queued_every_s, self._ends_at - now), self._look)
