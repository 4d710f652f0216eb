"""LoRA adapters of single rows: each row of a batch is changed by its own adapter, the others not at all.

Rows that share an adapter lie side by side, so an adapter is one product of a slice of the batch, and its weights are
read once. A row without one is the base model's, bit for bit; an adapter that leads beyond all numbers spoils its own
rows only. The slots that the package builds for adapters stay empty and are not computed.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Iterator, Sequence

if TYPE_CHECKING:
    from torch import Tensor

    from voice_server.backends.voxcpm.loras import LoraShelf


class RowLoras:
    """Hooks in the layers of a loaded model that adapters may change. `shelf` is attached to it already."""

    def __init__(self, model: Any, shelf: LoraShelf) -> None:
        self._shelf = shelf
        self._rows = 0
        self._spans: list[tuple[dict[str, Tensor], int, int]] = []
        for name, layer in model.named_modules():
            if hasattr(layer, "lora_A"):
                layer.r = 0  # of the package's own way: it adds the zeros of an empty slot
                layer.register_forward_hook(partial(self._add, name))

    def check(self, name: str) -> None:
        """Raises BackendError("bad_option") for an adapter that is no use."""
        self._shelf.tensors(name)

    @contextmanager
    def of(self, names: Sequence[str]) -> Iterator[None]:
        """Until the end, row i of whatever the model computes is changed by the adapter names[i], "" for none."""
        self._rows, begin = len(names), 0
        for name, rows in groupby(names):
            end = begin + len(list(rows))
            if name:
                self._spans.append((self._shelf.tensors(name), begin, end))
            begin = end
        try:
            yield
        finally:
            self._spans.clear()

    def _add(self, name: str, layer: Any, given: tuple[Tensor], gave: Tensor) -> Tensor:
        """The diffusion computes each row twice, so the batch is once or twice as long as there are rows."""
        from torch.nn.functional import linear

        for tensors, begin, end in self._spans:
            if f"{name}.lora_A" in tensors:
                inputs, outputs = (part.unflatten(0, (-1, self._rows))[:, begin:end] for part in (given[0], gave))
                outputs += linear(linear(inputs, tensors[f"{name}.lora_A"]), tensors[f"{name}.lora_B"])
        return gave
