"""What a pool is made of: a spec for each worker that it may have, and how many of them it has at least."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from voice_server.core.settings import Bounds
from voice_server.pool.supervisor import WorkerSpec


@dataclass(frozen=True, slots=True)
class Outfit:
    specs: tuple[WorkerSpec, ...]
    bounds: Bounds | None = None  # None: every spec is to have its worker

    @property
    def working(self) -> list[WorkerSpec]:
        """All but spares."""
        return [spec for spec in self.specs if not spec.is_spare]

    def standing(self, open_now: Collection[str] = ()) -> list[WorkerSpec]:
        """Those that are to have a worker where the slots of these names are open; the spares behind them."""
        working = self.working
        least = self.bounds.min if self.bounds else len(working)
        number = max(least, min(len(open_now), len(working)))
        kept = sorted(working, key=lambda spec: spec.name not in open_now)[:number]
        return [spec for spec in self.specs if spec.is_spare or spec in kept]
