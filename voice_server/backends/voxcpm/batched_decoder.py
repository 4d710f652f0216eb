"""Patches of many renders to their audio, each going on where its own last chunk ended.

VoxCPM2 decodes with convolutions that remember the end of the chunk before: upstream's streaming decoder keeps that for
one stream, in a table by layer. Here each slot has a row in every entry; before a step the rows of the batch are laid
into upstream's table, and taken from it afterwards. A stream that begins has zeros, which is what upstream pads with.
The older models remember nothing: they decode the last three patches again and keep the end.

Upstream computes the weights of a convolution from their direction and length each time; here that is done once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from voice_server.backends.voxcpm.batched_script import Script

_WINDOW = 3  # patches that the older models decode at once


class Decoder(Protocol):
    window: int  # patches that one chunk of a stream in full flow is decoded from

    def begin(self, slot: int, script: Script) -> int:
        """A new stream in a slot. How many patches of it are already known, up to `window` - 1."""

    def decode(self, patches: Tensor, slots: Tensor, known: int) -> tuple[Tensor, Any]:
        """One chunk for each row, (rows, samples), and what `commit` is to keep. `known` patches came before."""

    def commit(self, slots: Tensor, kept: Any) -> None: ...


def of(model: Any, slots: int) -> Decoder:
    """The decoder of a loaded model, for so many slots and one that is nobody's."""
    from torch.nn.utils import remove_weight_norm

    for layer in model.audio_vae.decoder.modules():
        if hasattr(layer, "weight_g"):
            remove_weight_norm(layer)
    return (
        StatefulDecoder(model, slots) if hasattr(model.audio_vae, "streaming_decode") else WindowDecoder(model, slots)
    )


class StatefulDecoder:
    window = 1

    def __init__(self, model: Any, slots: int) -> None:
        import torch

        vae = model.audio_vae
        self._vae = vae
        self._rate = torch.tensor([vae.out_sample_rate], device=model.device, dtype=torch.int32)
        self._states = vae.streaming_decode().__enter__()._states  # upstream's table, for the life of the model
        self._decode(torch.zeros(1, model.feat_dim, model.patch_size, device=model.device))
        self._kept = {layer: state.new_zeros(slots + 1, *state.shape[1:]) for layer, state in self._states.items()}
        self._states.clear()

    def _decode(self, patches: Tensor) -> Tensor:
        """As upstream's `decode_chunk`, which would bring the rate to the device again for each chunk."""
        audio: Tensor = self._vae.decode(patches, self._rate)
        return audio

    def begin(self, slot: int, script: Script) -> int:
        for kept in self._kept.values():
            kept[slot].zero_()
        return 0

    def decode(self, patches: Tensor, slots: Tensor, known: int) -> tuple[Tensor, Any]:
        self._states.update({layer: kept[slots] for layer, kept in self._kept.items()})
        try:
            audio = self._decode(patches.transpose(1, 2).float())
            return audio.squeeze(1), dict(self._states)
        finally:
            self._states.clear()  # they are views of all that the convolutions were given: nothing of it may stay

    def commit(self, slots: Tensor, kept: Any) -> None:
        for layer, state in kept.items():
            self._kept[layer][slots] = state


class WindowDecoder:
    window = _WINDOW

    def __init__(self, model: Any, slots: int) -> None:
        self._vae = model.audio_vae
        self._samples = model.patch_size * model.chunk_size
        shape = (slots + 1, _WINDOW - 1, model.patch_size, model.feat_dim)
        self._kept = model.stop_head.weight.new_zeros(shape)

    def begin(self, slot: int, script: Script) -> int:
        known = min(script.continued, _WINDOW - 1)
        if known:
            self._kept[slot, -known:] = script.patches[-known:]
        return known

    def decode(self, patches: Tensor, slots: Tensor, known: int) -> tuple[Tensor, Any]:
        import torch

        seen = torch.cat([self._kept[slots], patches.unsqueeze(1)], dim=1)
        window = seen[:, _WINDOW - 1 - known :].flatten(1, 2).transpose(1, 2)
        audio = self._vae.decode(window.float())[..., -self._samples :]
        return audio.squeeze(1), seen[:, 1:]

    def commit(self, slots: Tensor, kept: Any) -> None:
        self._kept[slots] = kept
