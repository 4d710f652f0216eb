"""Several renders open in one model, stepped in turn: each has a desk, and sits at it for one step at a time.

voxcpm keeps what belongs to one render in the shared model, where a second one would overwrite it without an exception.
A desk holds that state instead. It is exchanged with the model's before a step and after it, also when the step raises.

    key-value caches   of the two language models: all that was said so far, which a new render overwrites
    random states      the diffusion of each step begins with noise, so the seed of a render is its whole sequence
    patched forwards   VoxCPM2 decodes a stream with convolutions that remember the end of the chunk before; these are
                       functions that a stream puts into the shared layers when it begins and takes out when it ends

(The fourth, the LoRA adapter, is not exchanged but put on before a step: `LoraShelf.use` does nothing where it is on.)

Between two steps the model has no caches at all, so whatever forgot to sit down fails aloud; its layers are as they
were built, and the random state is that of nobody's render. Samples are encoded there. All desks are made at the start:
memory that is not there is missed then, and not in the middle of a sentence.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator, Sequence

if TYPE_CHECKING:
    from torch import Generator, Tensor


class Desk:
    """The state of one render. `caches`: a key-value cache for each of the model's language models."""

    def __init__(self, model: Any, generators: Sequence[Generator], caches: Sequence[Any]) -> None:
        self._language_models = _language_models(model)
        self._layers = [vars(layer) for layer in model.audio_vae.decoder.modules()]
        self._generators = generators
        self._caches = list(caches)
        self._random: list[Tensor] = [generator.get_state() for generator in generators]
        self._forwards: list[tuple[dict[str, Any], Any]] = []

    @contextmanager
    def seated(self) -> Iterator[None]:
        """The model is this render's, for one step."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        """Its own inverse, so that what was there comes back, whoever it belongs to."""
        for place, language_model in enumerate(self._language_models):
            language_model.kv_cache, self._caches[place] = self._caches[place], language_model.kv_cache
        for place, generator in enumerate(self._generators):
            found = generator.get_state()
            generator.set_state(self._random[place])
            self._random[place] = found
        forwards = [(layer, layer.pop("forward")) for layer in self._layers if "forward" in layer]
        for layer, forward in self._forwards:
            layer["forward"] = forward
        self._forwards = forwards


class Desks:
    """The `count` desks of a loaded model, which gives its own caches to the first of them."""

    def __init__(self, model: Any, device: str, count: int) -> None:
        own = [language_model.kv_cache for language_model in _language_models(model)]
        self.bytes_each = sum(cache.kv_cache.nbytes for cache in own)
        generators, all_caches = (
            _generators(device),
            [own, *([_like(cache) for cache in own] for _ in range(count - 1))],
        )
        self._free = [Desk(model, generators, caches) for caches in all_caches]
        for language_model in _language_models(model):
            language_model.kv_cache = None

    @property
    def free(self) -> int:
        return len(self._free)

    @contextmanager
    def one(self) -> Iterator[Desk]:
        """A desk for the life of a render. What the last one left on it is overwritten: upstream zeroes the caches."""
        if not self._free:
            raise RuntimeError("more renders than this engine has a place for")
        desk = self._free.pop()
        try:
            yield desk
        finally:
            self._free.append(desk)


def _language_models(model: Any) -> tuple[Any, Any]:
    return model.base_lm, model.residual_lm


def _generators(device: str) -> list[Generator]:
    """Those that a step draws from: noise on a GPU comes from the GPU's."""
    import torch

    on_gpu = [torch.cuda.default_generators[torch.cuda.current_device()]] if device.startswith("cuda") else []
    return [torch.default_generator, *on_gpu]


def _like(cache: Any) -> Any:
    """Another cache of the same size. (It does not remember how many heads it has; its tensor does.)"""
    kept = cache.kv_cache
    _, layers, batch, heads, length, width = kept.shape
    return type(cache)(layers, heads, width, batch, kept.device, kept.dtype, length)
