"""Lets the number of a pool's workers follow what is asked of them: it looks, asks core/scaling.py, and has it done.

Promises: each decision is one line in the log, is counted, and stays to be seen. While a restart replaces the workers
their number stays as it is. A pool whose number is fixed is never looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Protocol

from voice_server.core.limits import ScalingLimits
from voice_server.core.scaling import Crew, Decision, Load, Scaling
from voice_server.core.settings import Bounds

_log = logging.getLogger(__name__)


class Staff(Protocol):
    """The pool, as its scaler sees it."""

    name: str

    @property
    def crew(self) -> Crew: ...

    @property
    def load(self) -> Load: ...

    @property
    def is_restarting(self) -> bool: ...

    def grow(self, number: int) -> None: ...

    def shrink(self, number: int) -> None: ...


class Scaler:
    def __init__(self, staff: Staff, bounds: Bounds | None, limits: ScalingLimits) -> None:
        self.last: Decision | None = None
        self.decisions: Counter[str] = Counter()  # "up" and "down"
        self._staff = staff
        self._limits = limits
        self._task: asyncio.Task[None] | None = None
        self.take_up(bounds)

    def take_up(self, bounds: Bounds | None) -> None:
        self._scaling = Scaling(bounds, self._limits) if bounds else None

    @property
    def wanted(self) -> int | None:
        """As many workers as what is needed now takes; None where their number is fixed."""
        return self._scaling.wanted if self._scaling else None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"scaler of {self._staff.name}")

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._limits.look_s)
            if self._scaling:
                self._look(self._scaling, asyncio.get_running_loop().time())

    def _look(self, scaling: Scaling, now: float) -> None:
        load, crew = self._staff.load, self._staff.crew
        scaling.see(load, crew, now)
        if not self._staff.is_restarting and (decision := scaling.decide(load, crew, now)):
            self._do(decision)

    def _do(self, decision: Decision) -> None:
        self.last = decision
        more = decision.after - decision.before
        self.decisions["up" if more > 0 else "down"] += 1
        _log.warning("%s: %d -> %d workers: %s", self._staff.name, decision.before, decision.after, decision.reason)
        if more > 0:
            self._staff.grow(more)
        else:
            self._staff.shrink(-more)
