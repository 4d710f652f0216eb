"""Patches of many renders to their audio, each going on where its own last chunk ended.

VoxCPM2 decodes with convolutions that remember the end of the chunk before: upstream's streaming decoder keeps that for
one stream, in a table by layer. Here each slot has a row in every entry; before a step the rows of the batch are laid
into upstream's table, and taken from it afterwards. A stream that begins has zeros, which is what upstream pads with.
The older models remember nothing: they decode the last three patches again and keep the end.
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
    return (
        StatefulDecoder(model, slots) if hasattr(model.audio_vae, "streaming_decode") else WindowDecoder(model, slots)
    )


class StatefulDecoder:
    window = 1

    def __init__(self, model: Any, slots: int) -> None:
        import torch

        self._stream = model.audio_vae.streaming_decode().__enter__()  # for the life of the model
        self._stream.decode_chunk(torch.zeros(1, model.feat_dim, model.patch_size, device=model.device))
        states = self._stream._states.items()
        self._kept = {layer: state.new_zeros(slots + 1, *state.shape[1:]) for layer, state in states}

    def begin(self, slot: int, script: Script) -> int:
        for kept in self._kept.values():
            kept[slot].zero_()
        return 0

    def decode(self, patches: Tensor, slots: Tensor, known: int) -> tuple[Tensor, Any]:
        self._stream._states.update({layer: kept[slots] for layer, kept in self._kept.items()})
        audio = self._stream.decode_chunk(patches.transpose(1, 2).float())
        return audio.squeeze(1), dict(self._stream._states)

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
