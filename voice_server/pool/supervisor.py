"""Keeps one slot of a pool filled: starts a worker, waits for its death, starts the next one when the policy says so.

A backend that cannot load is retried ever more slowly and says why; one whose configuration is wrong is not retried at
all. Loads pass a gate, since models that load side by side run out of memory side by side.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Protocol

from voice_server.core.limits import WorkerLimits
from voice_server.core.restart import RestartPolicy
from voice_server.pool.launcher import Launcher
from voice_server.pool.process import Command
from voice_server.pool.worker import Ending, Worker, WorkerOwner
from voice_server.wire.messages import Load, Ready, Text

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything that makes a worker of one slot."""

    name: str  # "hibari-0"
    command: Command
    load: Load
    limits: WorkerLimits
    device: str = "cpu"
    is_spare: bool = False


@dataclass(frozen=True, slots=True)
class SlotStatus:
    name: str
    state: str  # one of core.status.WORKER_STATES
    detail: str  # while it waits or loads: for what; else why the last worker died
    pid: int
    open_renders: int
    restarts: int
    host: str = ""  # the machine of its worker; "" is this one

    @property
    def may_recover(self) -> bool:
        return self.state not in ("broken", "failed", "stopped")


class SlotOwner(WorkerOwner, Protocol):
    def on_slot_changed(self) -> None: ...


class Supervisor:
    """One slot. Its worker goes by `name`, which no other slot has at the same time."""

    def __init__(
        self,
        name: str,
        spec: WorkerSpec,
        owner: SlotOwner,
        policy: RestartPolicy,
        launcher: Launcher,
        gate: asyncio.Semaphore,
    ) -> None:
        self.name = name
        self.spec = spec
        self._owner = owner
        self._policy = policy
        self._launcher = launcher
        self._gate = gate
        self._loop = asyncio.get_running_loop()
        self._state = "waiting"
        self._reason = ""
        self._starts = 0
        self._starts_at = 0.0  # the latest start, or the next one
        self._load_s = 0.0  # that the latest load took which ended well
        self._worker: Worker | None = None
        self._settled = asyncio.Event()  # the worker is ready or lost
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"supervisor {self.name}")

    async def close(self) -> None:
        """Stop the worker. May be called again, and by several at once."""
        if self._task is None:
            return
        if not self._is_closing:  # a second cancellation would leave the worker before it has stopped
            self._is_closing = True
            self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    @property
    def worker(self) -> Worker | None:
        """The one that is ready."""
        return self._worker if self._state == "ready" else None

    @property
    def status(self) -> SlotStatus:
        worker = self._worker
        stage = worker.stage if worker else ""
        detail = stage if self._state in ("waiting", "loading") else self._reason
        pid, renders, host = (worker.pid, worker.open_renders, worker.host) if worker else (0, 0, "")
        return SlotStatus(self.name, self._state, detail, pid, renders, max(0, self._starts - 1), host)

    @property
    def ready_in_s(self) -> float | None:
        """Until the probe of a slot that is out of order could have ended well."""
        return max(0.0, self._starts_at + self._load_s - self._loop.time()) if self._state == "broken" else None

    async def _run(self) -> None:
        try:
            delay_s = await self._live_once()
            while delay_s is not None:
                await asyncio.sleep(delay_s)
                delay_s = await self._live_once()
        finally:
            if self._worker:
                await self._worker.stop()
            if self._state != "failed":
                self._enter("stopped")

    async def _live_once(self) -> float | None:
        """From the start of one worker to its burial. Returns the delay before the next one, None for never."""
        self._enter("waiting")
        async with self._gate:
            worker = await self._start()
            if worker:
                await self._settled.wait()
        if worker:
            await worker.gone()
            if not worker.retryable:
                self._give_up()
                return None
        return self._next_delay()

    async def _start(self) -> Worker | None:
        self._settled.clear()
        self._starts_at = self._loop.time()
        self._policy.started(self._starts_at)
        self._starts += 1
        self._worker = worker = Worker(self.name, self.spec.load, self.spec.limits, self)
        try:
            await worker.start(self.spec.command, self._launcher)
        except OSError as problem:
            self._worker = None
            self._reason = f"cannot be started: {problem.strerror}; run `python -m voice_server doctor`"
            return None
        self._enter("loading")
        return worker

    def _next_delay(self) -> float:
        self._worker = None
        restart = self._policy.died(self._loop.time())
        self._starts_at = self._loop.time() + restart.delay_s
        self._enter("broken" if restart.broken else "restarting")
        _log.warning("%s %s; next start in %.1f s", self.name, self._reason, restart.delay_s)
        return restart.delay_s

    def _give_up(self) -> None:
        self._worker = None
        self._enter("failed")
        _log.error("%s failed to load and will not be tried again: %s", self.name, self._reason)

    def _enter(self, state: str) -> None:
        self._state = state
        self._owner.on_slot_changed()

    # WorkerOwner: the pool is told too

    def on_ready(self, worker: Worker, ready: Ready) -> None:
        self._policy.ready(self._loop.time())
        self._load_s = self._loop.time() - self._starts_at
        self._reason = ""
        self._settled.set()
        self._enter("ready")
        self._owner.on_ready(worker, ready)

    def on_capacity(self, worker: Worker, capacity: int) -> None:
        self._owner.on_capacity(worker, capacity)

    def on_audio(self, worker: Worker, render_id: int, pcm: bytes) -> None:
        self._owner.on_audio(worker, render_id, pcm)

    def on_text(self, worker: Worker, text: Text) -> None:
        self._owner.on_text(worker, text)

    def on_end(self, worker: Worker, ending: Ending) -> None:
        self._owner.on_end(worker, ending)

    def on_lost(self, worker: Worker, renders: frozenset[int], reason: str) -> None:
        self._settled.set()
        self._reason = reason
        self._state = "restarting"  # first, lest the pool put it back to work
        self._owner.on_lost(worker, renders, reason)
        self._owner.on_slot_changed()  # last: whoever hands out work on this news knows that it is lost

    def on_pardoned(self, worker: Worker) -> None:
        """It was lost to a text. The pool need not know."""
        self._policy.pardon()
