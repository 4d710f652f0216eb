"""What every door shares: the backends, the limits, who is inside, and whether the house is closing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from voice_server import __version__
from voice_server.core.budget import Budgets
from voice_server.core.errors import UnknownBackend
from voice_server.core.limits import Limits
from voice_server.core.status import ServerStatus
from voice_server.gateway.llm import Echo, Writer
from voice_server.gateway.previews import Previews
from voice_server.gateway.prompts import Prompts
from voice_server.gateway.security import Gate
from voice_server.gateway.status import look
from voice_server.gateway.tethers import Tethers
from voice_server.observe.metrics import Metrics
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.voices import VoiceStore


class Guest(Protocol):
    """A long-lived client that has to be told when the gateway shuts down."""

    @property
    def is_busy(self) -> bool: ...

    def go_away(self) -> None: ...


class House:
    def __init__(
        self,
        backends: list[Backend],
        limits: Limits,
        gate: Gate,
        recognisers: Sequence[Recogniser] = (),
        name: str = "",
    ) -> None:
        self.backends = {backend.name: backend for backend in backends}
        self.recognisers = {recogniser.name: recogniser for recogniser in recognisers}
        self.default = backends[0]
        self.writer: Writer = Echo()  # of POST /chat, until main.py knows a language model
        self.prompts: Prompts | None = None  # recordings by URL, where main.py allows them
        self.limits = limits
        self.gate = gate
        self.guests: set[Guest] = set()
        self.tethers = Tethers(limits.resume, name)
        self.is_draining = False
        self.is_evicted = False
        self.conversions = 0  # of sound into files, running now
        self.uploads = asyncio.Semaphore(limits.voices.uploads)
        self.transcriptions = asyncio.Semaphore(limits.transcriptions.at_once)
        self.previews = Previews(limits.voices.preview_cache_bytes)
        self.metrics = Metrics(lambda: map(look, self.all))
        self.metrics.gauge("tasks", "Tasks of the event loop that have not ended.", lambda: len(asyncio.all_tasks()))
        self.metrics.gauge("absent_streams", "Streams whose client was lost and may come back.", self.tethers.absent)
        budgets = Budgets(limits.access)  # one for all backends
        for backend in backends:
            backend.measures, backend.budgets = self.metrics.of(backend.name), budgets
            backend.tellers.append(self.metrics.answered)
        for recogniser in recognisers:
            recogniser.measures = self.metrics.hearings.of(recogniser.name)
            recogniser.tellers.append(self.metrics.hearings.ended)
        self._opened_at = time.monotonic()

    def backend(self, name: str) -> Backend:
        """The backend of this name, the default one for "". Raises UnknownBackend."""
        if not name:
            return self.default
        if name not in self.backends:
            raise UnknownBackend(f"this server runs {', '.join(self.backends)}", field="backend")
        return self.backends[name]

    @property
    def all(self) -> list[Backend | Recogniser]:
        """Those that speak, the default one first, and those that listen."""
        return [*self.backends.values(), *self.recognisers.values()]

    @property
    def voices(self) -> VoiceStore:
        return self.default.store

    def recogniser(self, name: str) -> Recogniser:
        """The backend of this name that listens, the first one for "". Raises UnknownBackend."""
        if not self.recognisers:
            raise UnknownBackend("no backend listens here: start the server with one of kind stt", field="backend")
        if name and name not in self.recognisers:
            raise UnknownBackend(f"here listen {', '.join(self.recognisers)}", field="backend")
        return self.recognisers[name or next(iter(self.recognisers))]

    @property
    def problem(self) -> str:
        """Why `/ready` says no, for a person; empty as soon as one backend can speak."""
        if self.is_draining:
            return "shutting down"
        problems = [backend.pool.problem for backend in self.backends.values()]
        return "; ".join(problems) if all(problems) else ""

    @property
    def status(self) -> ServerStatus:
        uptime_s = time.monotonic() - self._opened_at
        return ServerStatus(__version__, uptime_s, self.is_draining, tuple(map(look, self.all)))

    # Shutting down

    @property
    def is_empty(self) -> bool:
        return not self.guests and not self.gate.requests

    def drain(self) -> None:
        """Let running answers finish; who has none is asked to leave now."""
        self.is_draining = True
        self.tethers.close()
        for guest in [guest for guest in self.guests if not guest.is_busy]:
            guest.go_away()

    def evict(self) -> None:
        """Patience is over."""
        self.is_evicted = True
        self.tethers.close()
        for guest in self.guests:
            guest.go_away()
