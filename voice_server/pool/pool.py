"""The workers of one backend, and the line in front of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from voice_server.core.errors import BackendUnavailable
from voice_server.core.restart import RestartPolicy
from voice_server.pool.process import Guardian
from voice_server.pool.supervisor import SlotStatus, Supervisor, WorkerSpec
from voice_server.pool.worker import Ending, Worker, WorkerOwner
from voice_server.wire.messages import Ready, Text


class Desk(WorkerOwner, Protocol):
    """Who hands out the workers of a pool: a dispatcher to those who speak, a switchboard to those who listen."""

    @property
    def has_workers(self) -> bool: ...

    def refuse(self, reason: BackendUnavailable | None) -> None: ...


D = TypeVar("D", bound=Desk)


class Pool(Generic[D]):
    """Starts one supervisor per spec and hands out their workers through `dispatcher`.

    `ready` is the last handshake of a worker: sample rate, voices and capacity are the same for all of them.
    """

    def __init__(self, name: str, specs: Sequence[WorkerSpec], dispatcher: D) -> None:
        self.name = name
        self.dispatcher = dispatcher
        self.ready: Ready | None = None
        self._specs = specs
        self._supervisors: list[Supervisor] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._first_ready = asyncio.Event()

    def start(self, guardian: Guardian, gate: asyncio.Semaphore, random: Callable[[], float]) -> None:
        for spec in self._specs:
            supervisor = Supervisor(spec, self, RestartPolicy(spec.limits, random), guardian, gate)
            self._supervisors.append(supervisor)
            self._tasks.append(asyncio.create_task(supervisor.run(), name=f"supervisor {spec.name}"))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @property
    def size(self) -> int:
        return len(self._specs)

    @property
    def slots(self) -> list[SlotStatus]:
        return [supervisor.status for supervisor in self._supervisors]

    @property
    def is_ready(self) -> bool:
        return self.dispatcher.has_workers

    @property
    def problem(self) -> str:
        """Why no worker is ready, for a person; empty when one is."""
        if self.is_ready:
            return ""
        told = [f"{slot.name}: {slot.state}" + (f" ({slot.detail})" if slot.detail else "") for slot in self.slots]
        return "; ".join(told)

    async def until_ready(self) -> Ready:
        """The handshake, as soon as there is one. Raises BackendUnavailable when none will come soon."""
        while self.ready is None:
            if self._is_hopeless:
                raise self._unavailable()
            self._first_ready.clear()
            await self._first_ready.wait()
        return self.ready

    @property
    def _is_hopeless(self) -> bool:
        return not any(slot.may_recover for slot in self.slots)

    def _unavailable(self) -> BackendUnavailable:
        return BackendUnavailable(f"backend {self.name} cannot speak now; GET /ready or `doctor` says why")

    # SlotOwner

    def on_slot_changed(self) -> None:
        """Turn people away as soon as the last slot is out of order."""
        self.dispatcher.refuse(self._unavailable() if self._is_hopeless else None)
        self._first_ready.set()

    def on_ready(self, worker: Worker, ready: Ready) -> None:
        self.ready = ready
        self._first_ready.set()
        self.dispatcher.on_ready(worker, ready)

    def on_audio(self, worker: Worker, render_id: int, pcm: bytes) -> None:
        self.dispatcher.on_audio(worker, render_id, pcm)

    def on_text(self, worker: Worker, text: Text) -> None:
        self.dispatcher.on_text(worker, text)

    def on_end(self, worker: Worker, ending: Ending) -> None:
        self.dispatcher.on_end(worker, ending)

    def on_lost(self, worker: Worker, renders: frozenset[int], reason: str) -> None:
        self.dispatcher.on_lost(worker, renders, reason)
