"""What belongs to one open render of a batch, on the side of the host; and how rows come together to one step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from voice_server.backends.voxcpm.batched_step import Batch

if TYPE_CHECKING:
    from torch import Tensor

    from voice_server.backends.voxcpm.batched_script import Script
    from voice_server.backends.voxcpm.engine import Order, Samples


@dataclass(eq=False)
class Row:
    """One render: its script is heard first, then it speaks, one chunk in each step that it is in."""

    order: Order
    script: Script
    slot: int
    known: int  # patches before the next one, of those the decoder looks at
    window: int  # of the decoder
    random: Any  # its own generator: what it draws depends on nobody else
    heard: int = 0  # positions of the script
    steps: int = 0
    said: deque[Samples] = field(default_factory=deque)
    has_ended: bool = False  # nothing will be said beyond `said`
    error: Exception | None = None  # why
    has_moved: bool = True  # since it was last asked; at first it is to be asked before it moves
    _noise: Tensor | None = None

    @property
    def unheard(self) -> int:
        return self.script.length - self.heard

    @property
    def has_news(self) -> bool:
        return self.has_moved or self.has_ended

    @property
    def can_speak(self) -> bool:
        return not self.unheard and not self.has_ended

    def noise(self) -> Tensor:
        """What the next step begins with. The same until that step succeeds."""
        import torch

        if self._noise is None:
            patches = self.script.patches
            shape = (1, patches.shape[2], patches.shape[1])
            self._noise = torch.randn(shape, generator=self.random, device=patches.device, dtype=patches.dtype)
        return self._noise

    def speak(self, chunk: Samples, stops: bool) -> None:
        """A step succeeded. A stop counts only beyond the shortest length, as upstream counts it."""
        self.has_ended = (stops and self.steps > self.order.min_steps) or self.steps + 1 == self.order.max_steps
        self.said.append(chunk)
        self.steps += 1
        self.known = min(self.known + 1, self.window - 1)
        self.has_moved, self._noise = True, None

    def fail(self, error: Exception) -> None:
        self.error, self.has_ended, self.has_moved = error, True, True


def alike(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows that can be one batch, equal adapters side by side."""
    ordered = sorted(rows, key=lambda row: (*_kind(row), row.order.lora))
    return (list(group) for _, group in groupby(ordered, _kind))


def _kind(row: Row) -> tuple[int, int]:
    return row.order.timesteps, row.known


def batch_of(rows: Sequence[Row]) -> Batch:
    import torch

    like = rows[0].script.patches
    positions = [row.script.length + row.steps for row in rows]
    guidance = torch.tensor([row.order.cfg_value for row in rows], device=like.device, dtype=like.dtype)
    return Batch(
        torch.tensor([row.slot for row in rows], device=like.device),
        torch.tensor(positions, device=like.device),
        torch.cat([row.noise() for row in rows]),
        guidance.view(-1, 1, 1),
        tuple(row.order.lora for row in rows),
        max(positions) + 1,
        rows[0].order.timesteps,
        rows[0].known,
    )
