"""What a render begins with, as upstream lays it out: tokens of text and patches of audio, one for each position.

voice at random        text  <start>
continuation           words of the sample, text  <start>  sample
reference (VoxCPM2)    <ref> sample <end>  text  <start>
both (VoxCPM2)         <ref> sample <end>  words of the sample, text  <start>  sample
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from voice_server.backends.voxcpm.engine import Order


@dataclass(frozen=True)
class Script:
    """On the model's device. A position holds a token or a patch; the other one is zero."""

    tokens: Tensor  # (length,)
    patches: Tensor  # (length, frames of a patch, features), in the model's precision
    is_audio: Tensor  # (length,), bool
    continued: int  # patches at the end, of the sample that the render goes on with

    @property
    def length(self) -> int:
        return len(self.tokens)


def write(model: Any, order: Order) -> Script:
    """The script of an order. `model`: a loaded one of the package."""
    import torch

    has_reference = hasattr(model, "ref_audio_start_token")
    prompt = order.prompt
    patch = (0, model.patch_size, model.feat_dim)
    nothing = torch.empty(patch)
    reference = continued = nothing
    words = order.text
    if prompt is not None and has_reference:
        reference = torch.from_numpy(prompt.features.reference)
    if prompt is not None and (prompt.transcript or not has_reference):
        continued, words = torch.from_numpy(prompt.features.continuation), prompt.transcript + order.text
    text = [*model.text_tokenizer(words), model.audio_start_token]
    parts: list[list[int] | Tensor] = [text, continued]
    if len(reference):
        parts = [[model.ref_audio_start_token], reference, [model.ref_audio_end_token], *parts]
    return _laid_out(model, parts, len(continued))


def _laid_out(model: Any, parts: list[list[int] | Tensor], continued: int) -> Script:
    import torch

    lengths = torch.tensor([len(part) for part in parts])
    is_audio = torch.tensor([not isinstance(part, list) for part in parts]).repeat_interleave(lengths)
    tokens = torch.zeros(len(is_audio), dtype=torch.long)
    patches = torch.zeros(len(is_audio), model.patch_size, model.feat_dim)
    tokens[~is_audio] = torch.tensor([token for part in parts if isinstance(part, list) for token in part])
    patches[is_audio] = torch.cat([part for part in parts if not isinstance(part, list)])
    weight = model.stop_head.weight
    patches = patches.to(weight.device, weight.dtype)
    return Script(tokens.to(weight.device), patches, is_audio.to(weight.device), continued)
