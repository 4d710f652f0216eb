"""Many renders in one language model at once: each row at its own position of its own slot in one cache.

Upstream's `forward_step` is row-wise but for two things: it takes one position for all rows, and one cache for one row.
Here every row says where it is. All else is the package's own modules, called as its own layers call them.

The query heads that share a key head become queries of it: plain attention with few heads, so that no kernel has to
know of groups, and no key is copied for each of its eight queries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class SlotCache:
    """Keys and values of `slots` renders, and of one more slot that is nobody's: padding is written there.

    It takes the place of the cache for one render that `lm` was built with, and is of the same length and kind.
    """

    def __init__(self, lm: Any, slots: int) -> None:
        own = lm.kv_cache.kv_cache
        lm.kv_cache = None  # whoever takes upstream's own way fails aloud
        pair, layers, _, heads, length, width = own.shape
        self._kept = own.new_zeros(layers, pair, slots + 1, length, heads, width)

    @staticmethod
    def bytes_each(lm: Any) -> int:
        """Of one slot, before there is any."""
        return int(lm.kv_cache.kv_cache.nbytes)

    def layer(self, number: int) -> tuple[Tensor, Tensor]:
        """Keys and values, (slots, positions, heads, width)."""
        keys, values = self._kept[number]
        return keys, values

    def clear(self, slot: int, length: int) -> None:
        """Forget a render. Weight zero times what is no number is no number: nothing of it may stay."""
        self._kept[:, :, slot, :length].zero_()


@dataclass(frozen=True)
class Places:
    """Where `n` new positions of each row go, and how far each may look back."""

    slots: Tensor  # (rows,)
    positions: Tensor  # (rows, n)
    length: int  # a bound of all positions; so much of the cache is looked at


def advance(lm: Any, cache: SlotCache, hidden: Tensor, places: Places) -> Tensor:
    """(rows, n, width) in and out: `lm` has heard `n` positions more of each row."""
    rope = None if lm.rope_emb is None else tuple(part.unsqueeze(1) for part in lm.rope_emb(places.positions))
    mask = _mask(places, lm.config.num_attention_heads // lm.config.num_key_value_heads)
    for number, layer in enumerate(lm.layers):
        scale = layer.scale_depth / math.sqrt(layer.num_hidden_layers) if layer.use_mup else 1.0
        heard = _attend(layer.self_attn, layer.input_layernorm(hidden), rope, mask, cache.layer(number), places)
        hidden = hidden + heard * scale
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden)) * scale
    normed: Tensor = lm.norm(hidden)
    return normed


def _mask(places: Places, group: int) -> Tensor:
    """(rows, 1, group * n, length): what each query of a key head may look at."""
    import torch

    seen = torch.arange(places.length, device=places.positions.device) <= places.positions.unsqueeze(-1)
    return seen.unsqueeze(1).repeat(1, 1, group, 1)


def _attend(attention: Any, hidden: Tensor, rope: Any, mask: Tensor, kept: Any, places: Places) -> Tensor:
    import torch
    from voxcpm.modules.minicpm4.model import apply_rotary_pos_emb

    rows, new, _ = hidden.shape
    key_heads, width = attention.num_key_value_heads, attention.head_dim

    def heads(projected: Tensor) -> Tensor:
        return projected.view(rows, new, -1, width).transpose(1, 2)

    queries, keys, values = (heads(part(hidden)) for part in (attention.q_proj, attention.k_proj, attention.v_proj))
    if rope is not None:
        queries, keys = apply_rotary_pos_emb(queries, keys, *rope)
    known = [_remember(part, given, places) for part, given in zip(kept, (keys, values), strict=True)]
    grouped = queries.reshape(rows, key_heads, -1, width)  # (group, n) as one: as many queries of each key head
    heard = torch.nn.functional.scaled_dot_product_attention(grouped, *known, attn_mask=mask)
    # no view: CUDA's memory-efficient kernel returns its result transposed
    apart = heard.reshape(rows, attention.num_heads, new, width).transpose(1, 2)
    out: Tensor = attention.o_proj(apart.reshape(rows, new, -1))
    return out


def _remember(kept: Tensor, given: Tensor, places: Places) -> Tensor:
    """Write what is new, (rows, heads, n, width), and give all that is known, (rows, heads, length, width)."""
    kept[places.slots.unsqueeze(1), places.positions] = given.transpose(1, 2)
    return kept[places.slots, : places.length].transpose(1, 2)
