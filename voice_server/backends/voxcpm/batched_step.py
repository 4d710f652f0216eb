"""One step of many renders: the arithmetic of upstream's loop, for all rows of a batch at once.

              hidden (both language models)      the patch before
                             |                         |
    noise of the row ->  diffusion (guidance of the row, timesteps of the batch)
                             |
                           patch --> VAE, state of the row --> audio --> the host
                             |
                      local encoder --> language model --> quantiser --> residual model --> hidden of the next step

What a row brings into the next step lies in tensors by slot, and is written at the very end: a step that fails on its
way, because memory ran out, can be taken again by fewer rows. Nothing that belongs to a row is drawn or kept here.

`utter` and `listen` never ask the device for a value, nor bring one there, and their shapes follow from the fields of a
batch that are no tensors: with those fixed they can be recorded (batched_recordings).
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Sequence

from voice_server.backends.voxcpm import batched_decoder
from voice_server.backends.voxcpm.batched_lm import Places, SlotCache, advance

if TYPE_CHECKING:
    from torch import Tensor

    from voice_server.backends.voxcpm.batched_loras import RowLoras
    from voice_server.backends.voxcpm.batched_script import Script


@dataclass(frozen=True)
class Batch:
    """The rows of one step. They share the number of timesteps, and that of patches known to the decoder."""

    slots: Tensor  # (rows,)
    positions: Tensor  # (rows,): where the next patch goes
    noise: Tensor  # (rows, features, frames)
    guidance: Tensor  # (rows, 1, 1)
    loras: tuple[str, ...]  # of each row; equal ones side by side
    length: int  # above all positions
    timesteps: int
    known: int  # patches before this one, of those the decoder looks at


@dataclass(frozen=True)
class Said:
    """What a step says, before the model has heard it."""

    patches: Tensor  # (rows, frames, features)
    audio: Tensor  # (rows, samples)
    stops: Tensor  # (rows,): 1 for those that have no more to say
    kept: Any  # by the decoder


Later = Callable[[], "tuple[Tensor, Tensor]"]  # waits for the audio and the stops of a step, and for no more than that


class Stepper:
    """A loaded model, and what `slots` renders have in it. All renders are by slot, from 0."""

    def __init__(self, model: Any, slots: int, loras: RowLoras | None) -> None:
        self._model = model
        self._loras = loras
        self._has_fusion = hasattr(model, "fusion_concat_proj")
        self._scale = model.config.lm_config.scale_emb if model.config.lm_config.use_mup else 1.0
        self.decoder = batched_decoder.of(model, slots)
        self._base, self._residual = (SlotCache(lm, slots) for lm in (model.base_lm, model.residual_lm))
        like, width = model.stop_head.weight, model.config.lm_config.hidden_size
        self._hidden = like.new_zeros(slots + 1, 2, width)  # of the language model, and of the residual one
        self._before = like.new_zeros(slots + 1, model.patch_size, model.feat_dim)

    def clear(self, slot: int, length: int) -> None:
        for cache in (self._base, self._residual):
            cache.clear(slot, length)

    def prefill(self, script: Script, slot: int, begin: int, end: int, lora: str) -> None:
        """Hear the positions of a script from `begin` to `end`; all before them were heard."""
        import torch

        model, is_audio = self._model, script.is_audio[begin:end, None]
        positions = torch.arange(begin, end, device=is_audio.device).unsqueeze(0)
        places = Places(torch.tensor([slot], device=is_audio.device), positions, end)
        with self._with((lora,)):
            sound = model.enc_to_lm_proj(model.feat_encoder(script.patches[None, begin:end]))
            words = model.base_lm.embed_tokens(script.tokens[None, begin:end]) * self._scale
            heard = advance(model.base_lm, self._base, torch.where(is_audio, sound, words), places)
            heard = torch.where(is_audio, model.fsq_layer(heard), heard)
            joint = self._joint(heard, torch.where(is_audio, sound, 0.0))
            residual = advance(model.residual_lm, self._residual, joint, places)
        self._hidden[slot] = torch.stack([heard[0, -1], residual[0, -1]])
        self._before[slot] = script.patches[end - 1]

    def step(self, batch: Batch) -> Later:
        """The next patch of every row."""
        with self._with(batch.loras):
            said = self.utter(batch)
            later = read_later(said.audio, said.stops)
            hidden = self.listen(said.patches, batch)
        self.decoder.commit(batch.slots, said.kept)
        self.commit(batch, said.patches, hidden)
        return later

    def utter(self, batch: Batch) -> Said:
        patches = self._diffuse(batch)
        audio, kept = self.decoder.decode(patches, batch.slots, batch.known)
        return Said(patches, audio, self._stops(batch), kept)

    def listen(self, patches: Tensor, batch: Batch) -> Tensor:
        """(rows, 2, width): both language models have heard the new patches."""
        import torch

        model = self._model
        places = Places(batch.slots, batch.positions.unsqueeze(1), batch.length)
        sound = model.enc_to_lm_proj(model.feat_encoder(patches.unsqueeze(1)))
        heard = model.fsq_layer(advance(model.base_lm, self._base, sound, places))
        residual = advance(model.residual_lm, self._residual, self._joint(heard, sound), places)
        return torch.cat([heard, residual], dim=1)

    def commit(self, batch: Batch, patches: Tensor, hidden: Tensor) -> None:
        self._hidden[batch.slots] = hidden
        self._before[batch.slots] = patches

    def of_nobody(self, rows: int, length: int, timesteps: int) -> Batch:
        """Rows of the slot that no render has, for buffers that others are filled into."""
        import torch

        like = self._before
        slots = torch.full((rows,), len(like) - 1, device=like.device)
        noise = like.new_zeros(rows, like.shape[2], like.shape[1])
        guidance = like.new_ones(rows, 1, 1)
        known = self.decoder.window - 1
        return Batch(slots, torch.zeros_like(slots), noise, guidance, ("",) * rows, length, timesteps, known)

    def _with(self, loras: Sequence[str]) -> Any:
        return nullcontext() if self._loras is None else self._loras.of(loras)

    def _diffuse(self, batch: Batch) -> Tensor:
        """(rows, frames, features). Upstream's solver, which takes a guidance of each row as well as one of all."""
        import torch

        model = self._model
        heard, residual = self._hidden[batch.slots].unbind(1)
        parts = model.lm_to_dit_proj(heard), model.res_to_dit_proj(residual)
        times = torch.linspace(1, 0, batch.timesteps + 1, device=heard.device, dtype=heard.dtype)
        times = times + (torch.cos(torch.pi / 2 * times) - 1 + times)
        solved: Tensor = model.feat_decoder.solve_euler(
            x=batch.noise,
            t_span=times,
            mu=torch.cat(parts, dim=-1) if self._has_fusion else parts[0] + parts[1],
            cond=self._before[batch.slots].transpose(1, 2).contiguous(),
            cfg_value=batch.guidance,
        )
        return solved.transpose(1, 2)

    def _stops(self, batch: Batch) -> Tensor:
        """Whether the language model had nothing to say beyond this patch."""
        model = self._model
        heard = self._hidden[batch.slots, 0]
        stops: Tensor = model.stop_head(model.stop_actn(model.stop_proj(heard))).argmax(dim=-1)
        return stops

    def _joint(self, heard: Tensor, sound: Tensor) -> Tensor:
        import torch

        if not self._has_fusion:
            return heard + sound
        joint: Tensor = self._model.fusion_concat_proj(torch.cat((heard, sound), dim=-1))
        return joint


def read_later(audio: Tensor, stops: Tensor) -> Later:
    """Begin to copy to the host; the call waits for that, and not for what the device was told to do since."""
    import torch

    if not audio.is_cuda:
        return lambda: (audio, stops)
    copies = [torch.empty_like(part, device="cpu", pin_memory=True) for part in (audio, stops)]
    for copy, part in zip(copies, (audio, stops), strict=True):
        copy.copy_(part, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def read() -> tuple[Tensor, Tensor]:
        copied.synchronize()
        return copies[0], copies[1]

    return read
