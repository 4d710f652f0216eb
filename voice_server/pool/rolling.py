"""A rolling restart: one open slot after the other gets a new worker, and nobody who speaks or listens notices.

The new worker is loaded beside the old one, takes its place, and the old one leaves when it has finished what it has
open. One that does not load leaves everything as it is, and ends the restart. Where a device cannot hold two, the old
one leaves first; if the new one does not load then, the old version is loaded again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from voice_server.pool.outfit import Outfit
from voice_server.pool.supervisor import Supervisor, WorkerSpec

_log = logging.getLogger(__name__)


class Crew(Protocol):
    """The pool, as a restart sees it."""

    name: str

    def open(self, spec: WorkerSpec, *, behind: Supervisor | None = None) -> Supervisor: ...

    def find(self, spec: WorkerSpec) -> Supervisor | None: ...

    async def settled(self, slot: Supervisor) -> bool: ...

    async def outlived(self, slot: Supervisor, other: Supervisor) -> bool: ...

    async def dismiss(self, slot: Supervisor) -> None: ...

    def beside(self, standing: Sequence[WorkerSpec]) -> list[Supervisor]: ...

    def take_up(self, outfit: Outfit) -> None: ...


@dataclass(frozen=True, slots=True)
class RollStatus:
    state: Literal["running", "done", "failed"]
    replaced: int  # workers that are new
    workers: int  # that are to be, spares included
    reason: str  # why it failed, for a person


class Roll:
    """Begins when it is made: gives each of `specs` a new worker, and leaves no slots but those of `standing`."""

    def __init__(
        self,
        crew: Crew,
        specs: Sequence[WorkerSpec],
        standing: Sequence[WorkerSpec],
        outfit: Outfit,
        *,
        stops_first: bool,
    ) -> None:
        self._crew = crew
        self._specs = specs
        self._standing = standing
        self._outfit = outfit
        self._stops_first = stops_first
        self._replaced = 0
        self._reason = ""
        self._task = asyncio.create_task(self._run(), name=f"restart of {crew.name}")

    @property
    def is_running(self) -> bool:
        return not self._task.done()

    @property
    def status(self) -> RollStatus:
        state: Literal["running", "done", "failed"] = "failed" if self._reason else "done"
        return RollStatus("running" if self.is_running else state, self._replaced, len(self._specs), self._reason)

    async def ended(self) -> bool:
        """Whether it has ended well."""
        await asyncio.wait([self._task])
        return not self._reason

    async def abandon(self) -> None:
        """The pool stops."""
        if self.is_running:
            self._reason = "the server was stopped"
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        for spec in self._specs:
            self._reason = await self._replace(spec)
            if self._reason:
                _log.error("the restart of %s has failed, the old workers stay: %s", self._crew.name, self._reason)
                return
            self._replaced += 1
        for slot in self._crew.beside(self._standing):
            await self._crew.dismiss(slot)
        self._crew.take_up(self._outfit)
        if self._specs:
            _log.warning("the workers of %s were replaced", self._crew.name)

    async def _replace(self, spec: WorkerSpec) -> str:
        """Why it could not be done; "" if it was."""
        old = self._crew.find(spec)
        new = self._crew.open(spec, behind=old)  # a slot in waiting: a backend without any would turn people away
        if old and self._stops_first:
            await self._crew.dismiss(old)
        new.start()
        has_left = old is not None and self._stops_first
        if old and not has_left and await self._crew.outlived(new, old):
            await self._crew.dismiss(old)  # lost meanwhile: it would fight the new one for the same place
            has_left = True
        if await self._crew.settled(new):
            if old and not has_left:
                await self._crew.dismiss(old)
            return ""
        reason = f"{new.name} did not load: {new.status.detail}"
        if old and has_left:
            self._crew.open(old.spec, behind=new).start()
        await self._crew.dismiss(new)
        return reason
