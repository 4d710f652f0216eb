"""The workers of one backend, and the line in front of them.

Promises: as many ready workers of a device are at work as it has places, the others are spares, and a spare takes the
place of a lost one at once. A restart goes over the open slots one by one and takes nothing from anybody, and nor does
a number of workers that follows what is asked of them: who goes has nothing to do, and comes before who is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Generic, Protocol, TypeVar

from voice_server.core.errors import BackendUnavailable, RestartRunning
from voice_server.core.limits import ScalingLimits
from voice_server.core.restart import RestartPolicy
from voice_server.core.scaling import Crew, Load
from voice_server.pool.launcher import Launcher, Process
from voice_server.pool.outfit import Outfit
from voice_server.pool.rolling import Roll
from voice_server.pool.scaler import Scaler
from voice_server.pool.supervisor import SlotStatus, Supervisor, WorkerSpec
from voice_server.pool.worker import Ending, Worker, WorkerOwner
from voice_server.wire.messages import Ready, Text


class Desk(WorkerOwner, Protocol):
    """Who hands out the workers of a pool: a dispatcher to those who speak, a switchboard to those who listen."""

    @property
    def has_workers(self) -> bool: ...

    def load(self) -> Load: ...

    def refuse(self, reason: Callable[[], BackendUnavailable] | None) -> None: ...

    def retire(self, worker: Worker) -> None:
        """It gets nothing more to do; what it has open goes on."""


D = TypeVar("D", bound=Desk)


@dataclass(frozen=True, slots=True)
class _Means:
    """What every slot of a pool is opened with."""

    launcher: Launcher
    gate: asyncio.Semaphore
    random: Callable[[], float]


class Pool(Generic[D]):
    """Starts a supervisor for each worker of its outfit and hands out their workers through `dispatcher`.

    `ready` is the last handshake of a worker: sample rate, voices and capacity are the same for all of them.
    """

    def __init__(self, name: str, outfit: Outfit, dispatcher: D, scaling: ScalingLimits) -> None:
        self.name = name
        self.outfit = outfit  # a restart that has ended well replaces it
        self.dispatcher = dispatcher
        self.ready: Ready | None = None
        self.deaths: Counter[str] = Counter()  # of its workers, by cause
        self.last_roll: Roll | None = None
        self.scaler = Scaler(self, outfit.bounds, scaling)
        self._means: _Means | None = None
        self._slots: list[Supervisor] = []
        self._leaving: list[Supervisor] = []
        self._farewells: set[asyncio.Task[None]] = set()
        self._on_duty: set[Supervisor] = set()
        self._changed = asyncio.Event()

    def start(self, launcher: Launcher, gate: asyncio.Semaphore, random: Callable[[], float]) -> None:
        self._means = _Means(launcher, gate, random)
        for spec in self.outfit.standing():
            self.open(spec).start()
        self.scaler.start()

    async def stop(self) -> None:
        await self.scaler.stop()
        if self.last_roll:
            await self.last_roll.abandon()
        for farewell in self._farewells:
            farewell.cancel()
        await asyncio.gather(*(slot.close() for slot in [*self._slots, *self._leaving]))

    @property
    def size(self) -> int:
        """As many workers as there may be, without spares."""
        return len(self.outfit.working)

    @property
    def least(self) -> int:
        """As many as there are at any time."""
        return self.outfit.bounds.min if self.outfit.bounds else self.size

    @property
    def slots(self) -> list[SlotStatus]:
        leaving = [replace(slot.status, state="leaving") for slot in self._leaving]
        return [*(self._status(slot) for slot in self._slots), *leaving]

    def _status(self, slot: Supervisor) -> SlotStatus:
        is_spare = slot.worker is not None and slot not in self._on_duty
        return replace(slot.status, state="spare") if is_spare else slot.status

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
            await self._change()
        return self.ready

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    @property
    def _is_hopeless(self) -> bool:
        return not any(slot.status.may_recover for slot in self._slots)

    def _unavailable(self) -> BackendUnavailable:
        told = f"backend {self.name} cannot speak now; GET /ready or `doctor` says why"
        known = [slot.ready_in_s for slot in self._slots if slot.ready_in_s is not None]
        return BackendUnavailable(told, retry_after_s=min(known, default=None))

    # Restart

    def restart(self, outfit: Outfit | None = None, *, stops_first: bool = False) -> Roll:
        """Replace one worker after the other; by another outfit only those that it makes different. Raises
        RestartRunning."""
        if self.is_restarting:
            raise RestartRunning(f"the workers of {self.name} are being replaced already; wait until that has ended")
        standing = (outfit or self.outfit).standing({slot.spec.name for slot in self._working})
        todo = [spec for spec in standing if not outfit or (slot := self.find(spec)) is None or slot.spec != spec]
        self.last_roll = Roll(self, todo, standing, outfit or self.outfit, stops_first=stops_first)
        return self.last_roll

    def vacate(self, process: Process) -> None:
        """The machine of this worker is to go: another one is loaded elsewhere, takes over, and this one leaves. While
        others are being replaced nothing is done: say it again."""
        slot = next((slot for slot in self._slots if slot.worker and slot.worker.lives_in(process)), None)
        if slot and not self.is_restarting:
            standing = self.outfit.standing({slot.spec.name for slot in self._working})
            self.last_roll = Roll(self, [slot.spec], standing, self.outfit, stops_first=False)

    @property
    def is_restarting(self) -> bool:
        return self.last_roll is not None and self.last_roll.is_running

    def take_up(self, outfit: Outfit) -> None:
        self.outfit = outfit
        self.scaler.take_up(outfit.bounds)

    def beside(self, standing: Sequence[WorkerSpec]) -> list[Supervisor]:
        """The slots that are to go where only these are to stay."""
        names = {spec.name for spec in standing}
        return [slot for slot in self._slots if slot.spec.name not in names]

    def open(self, spec: WorkerSpec, *, behind: Supervisor | None = None) -> Supervisor:
        """A slot for this spec; it has still to be started."""
        assert self._means is not None
        policy = RestartPolicy(spec.limits, self._means.random)
        slot = Supervisor(self._free_name(spec), spec, self, policy, self._means.launcher, self._means.gate)
        self._slots.insert(self._slots.index(behind) + 1 if behind else len(self._slots), slot)
        return slot

    def _free_name(self, spec: WorkerSpec) -> str:
        """A slot and the one that replaces it exist side by side: they take turns with two names."""
        taken = {slot.name for slot in [*self._slots, *self._leaving]}
        return f"{spec.name}b" if spec.name in taken else spec.name

    def find(self, spec: WorkerSpec) -> Supervisor | None:
        """The slot that has this spec, or had it in another version."""
        return next((slot for slot in self._slots if slot.spec.name == spec.name), None)

    async def settled(self, slot: Supervisor) -> bool:
        """Whether its worker has loaded."""
        while slot.status.state in ("waiting", "loading"):
            await self._change()
        return slot.worker is not None

    async def outlived(self, slot: Supervisor, other: Supervisor) -> bool:
        """Whether the other's worker is lost before this one's has loaded or failed."""
        worker = other.worker
        while slot.status.state in ("waiting", "loading"):
            await self._change()
            if worker and worker is not other.worker:
                return True
            worker = other.worker  # it may have had none yet
        return False

    async def dismiss(self, slot: Supervisor) -> None:
        """It gets nothing more to do. What it has open it finishes, and is stopped."""
        self._send_off(slot)
        await self._see_off(slot)

    def _send_off(self, slot: Supervisor) -> None:
        self._slots.remove(slot)
        self._leaving.append(slot)
        self._rest(slot)
        self._fill()

    async def _see_off(self, slot: Supervisor) -> None:
        if worker := slot.worker:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(worker.at_rest(), slot.spec.limits.roll_s)
        await slot.close()
        self._leaving.remove(slot)

    # Scaling

    @property
    def load(self) -> Load:
        return self.dispatcher.load()

    @property
    def crew(self) -> Crew:
        return Crew(len(self._working), len(self._on_duty))

    @property
    def _working(self) -> list[Supervisor]:
        """The open slots that make places, whoever fills them."""
        return [slot for slot in self._slots if not slot.spec.is_spare]

    def grow(self, number: int) -> None:
        """Open so many more slots. A spare takes the place of a worker that is still loading."""
        present = {slot.spec.name for slot in [*self._slots, *self._leaving]}
        for spec in [spec for spec in self.outfit.working if spec.name not in present][:number]:
            self.open(spec, behind=self._working[-1] if self._working else None).start()
        self._fill()

    def shrink(self, number: int) -> None:
        """Dismiss so many slots, or as many as can go: who does not work first, and nobody who has something open."""
        for slot in islice(iter(self._dispensable, None), number):
            self._send_off(slot)
            for idle in self._idle_on(slot.spec.device)[: max(0, -self._places_left(slot.spec.device))]:
                self._rest(idle)
            farewell = asyncio.create_task(self._see_off(slot), name=f"farewell of {slot.name}")
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)

    def _dispensable(self) -> Supervisor | None:
        """A slot whose place can go, the latest ones first."""
        working = self._working
        working.reverse()
        working.sort(key=self._on_duty.__contains__)
        for slot in working:
            idle = self._idle_on(slot.spec.device)
            is_at_work = slot in self._on_duty
            if slot in idle or (not is_at_work and (idle or self._places_left(slot.spec.device) > 0)):
                return slot
        return None

    def _idle_on(self, device: str) -> list[Supervisor]:
        return [slot for slot in self._on_duty if slot.spec.device == device and not slot.status.open_renders]

    # Duty

    def _rest(self, slot: Supervisor) -> None:
        """It gets nothing more to do."""
        if slot in self._on_duty:
            self._on_duty.remove(slot)
            if slot.worker:
                self.dispatcher.retire(slot.worker)

    def _fill(self) -> None:
        """Put spares to work where there are places."""
        for slot in self._slots:
            worker = slot.worker
            if worker and worker.ready and slot not in self._on_duty and self._places_left(slot.spec.device) > 0:
                self._on_duty.add(slot)
                self.dispatcher.on_ready(worker, worker.ready)

    def _places_left(self, device: str) -> int:
        places = sum(slot.spec.device == device for slot in self._working)
        return places - sum(slot.spec.device == device for slot in self._on_duty)

    # SlotOwner

    def on_slot_changed(self) -> None:
        """Turn people away as soon as the last slot is out of order."""
        self.dispatcher.refuse(self._unavailable if self._is_hopeless else None)
        self._changed.set()

    def on_ready(self, worker: Worker, ready: Ready) -> None:
        self.ready = ready
        self._changed.set()
        self._fill()

    def on_capacity(self, worker: Worker, capacity: int) -> None:
        self.dispatcher.on_capacity(worker, capacity)

    def on_audio(self, worker: Worker, render_id: int, pcm: bytes) -> None:
        self.dispatcher.on_audio(worker, render_id, pcm)

    def on_text(self, worker: Worker, text: Text) -> None:
        self.dispatcher.on_text(worker, text)

    def on_end(self, worker: Worker, ending: Ending) -> None:
        self.dispatcher.on_end(worker, ending)

    def on_lost(self, worker: Worker, renders: frozenset[int], reason: str) -> None:
        if worker.cause:
            self.deaths[worker.cause] += 1
        self._on_duty = {slot for slot in self._on_duty if slot.name != worker.name}
        self.dispatcher.on_lost(worker, renders, reason)
        self._fill()
