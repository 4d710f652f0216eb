"""LoRA adapters in a folder, swapped into one resident model in milliseconds, for each render.

The model is built with slots of one large rank R and scale 1. An adapter of rank r is padded with zeros into them, and
its own scale alpha / r is folded into B; zeros in all slots are the base model, bit for bit. (Upstream's loader takes
adapters with unknown keys without a word, broadcasts rank 1 into any rank, and leaves the previous adapter in place
where the next one has no tensor: here keys, shapes and ranks must be exactly those that lora_config.json promises.)

    folder/NAME/lora_config.json    {"lora_config": {"r": 8, "alpha": 16, "enable_lm": true, ...}}
    folder/NAME/lora_weights.safetensors or .ckpt
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_RANK = 32  # of the slots, so that an adapter dropped into the folder of a running server fits
_TARGETS = ("q_proj", "v_proj", "k_proj", "o_proj")
_PROJECTIONS = ("enc_to_lm_proj", "lm_to_dit_proj", "res_to_dit_proj", "fusion_concat_proj")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


@dataclass(frozen=True)
class LoraPlan:
    """What an adapter changes; `read` from its lora_config.json."""

    rank: int
    alpha: float
    lm: tuple[str, ...]  # names of the linear layers in the language models; () for none
    dit: tuple[str, ...]
    projections: tuple[str, ...]

    def covers(self, layer: str) -> bool:
        kind = layer.rsplit(".", 1)[-1]
        if layer.startswith(("base_lm.", "residual_lm.")):
            return kind in self.lm
        return kind in (self.dit if layer.startswith("feat_decoder.") else self.projections)


def read_plan(folder: Path) -> LoraPlan:
    """Raises BackendError for a folder without a usable lora_config.json."""
    try:
        content = json.loads((folder / "lora_config.json").read_text(encoding="utf-8"))
        config = content.get("lora_config", content)
        rank, alpha = int(config["r"]), float(config["alpha"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _wrong(folder.name, "its lora_config.json is missing or names no r and alpha") from error
    if rank < 1:
        raise _wrong(folder.name, f"its rank is {rank}")

    def targets(switch: str, names: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(config.get(names, default)) if config.get(switch) else ()

    return LoraPlan(
        rank,
        alpha,
        targets("enable_lm", "target_modules_lm", _TARGETS),
        targets("enable_dit", "target_modules_dit", _TARGETS),
        targets("enable_proj", "target_proj_modules", _PROJECTIONS),
    )


class LoraShelf:
    """The adapters in a folder. `attach` it to a model that was built with `slots`; then `use` one by name."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise BackendError("bad_config", f"there is no folder {folder} of LoRA adapters")
        self._folder = folder
        self._slots: dict[str, Any] = {}  # parameters of the model, by their plain names
        self._read: dict[str, dict[str, Tensor]] = {}
        self._in_use = ""
        plans = [read_plan(folder / name) for name in self.names()]
        self._rank = max([_LEAST_RANK, *(plan.rank for plan in plans)])
        self._lm = sorted({*_TARGETS, *(name for plan in plans for name in plan.lm)})
        self._dit = sorted({*_TARGETS, *(name for plan in plans for name in plan.dit)})

    def names(self) -> list[str]:
        """The adapters there are now."""
        return sorted(path.parent.name for path in self._folder.glob("*/lora_config.json"))

    def slots(self, has_reference: bool) -> dict[str, Any]:
        """The keyword arguments of voxcpm's LoRAConfig. (Upstream's default for VoxCPM2 lacks one projection.)"""
        projections = _PROJECTIONS if has_reference else _PROJECTIONS[:3]
        return {
            "enable_lm": True,
            "enable_dit": True,
            "enable_proj": True,
            "r": self._rank,
            "alpha": self._rank,
            "target_modules_lm": self._lm,
            "target_modules_dit": self._dit,
            "target_proj_modules": list(projections),
        }

    def attach(self, parameters: Mapping[str, Any]) -> None:
        """Take over the slots of a loaded model, empty them, and verify all adapters against them."""
        named = ((name.replace("._orig_mod.", "."), parameter) for name, parameter in parameters.items())
        self._slots = {name: parameter for name, parameter in named if ".lora_" in name}
        for parameter in self._slots.values():
            parameter.data.zero_()
        for name in self.names():
            self._read[name] = self._load(name)

    def use(self, name: str) -> None:
        """Change to an adapter, or with "" to the base. Raises BackendError("bad_option") for one that is no use."""
        if name == self._in_use:
            return
        tensors = self.tensors(name) if name else {}
        for key, parameter in self._slots.items():
            parameter.data.zero_()
            if key in tensors:
                _fill(parameter.data, tensors[key])
        self._in_use = name

    def tensors(self, name: str) -> dict[str, Tensor]:
        """What an adapter adds, by the names of the slots. Raises BackendError("bad_option") for one that is no use."""
        if name not in self._read:
            if not _NAME.fullmatch(name) or name not in self.names():
                raise BackendError("bad_option", f"no LoRA {name!r}; there is {', '.join(self.names()) or 'none'}")
            try:
                self._read[name] = self._load(name)
            except BackendError as error:
                raise BackendError("bad_option", error.message) from error
        return self._read[name]

    def _load(self, name: str) -> dict[str, Tensor]:
        plan = read_plan(self._folder / name)
        if plan.rank > self._rank:
            raise _wrong(name, f"its rank {plan.rank} is above {self._rank}: it fits after a restart")
        tensors = _read_tensors(self._folder / name)
        expected = {key for key in self._slots if plan.covers(key.rsplit(".", 1)[0])}
        if expected != set(tensors):
            raise _wrong(
                name, f"{len(expected ^ set(tensors))} of its tensors are not those its configuration promises"
            )
        for key, tensor in tensors.items():
            if tuple(tensor.shape) != _shape(key, self._slots[key].shape, plan.rank):
                raise _wrong(name, f"{key} has the shape {tuple(tensor.shape)}")
            if not tensor.isfinite().all():
                raise _wrong(name, f"{key} holds values that are no numbers")
        scaled = {
            key: tensor * (plan.alpha / plan.rank if key.endswith("B") else 1.0) for key, tensor in tensors.items()
        }
        return {
            key: tensor.to(self._slots[key]) for key, tensor in scaled.items()
        }  # where it is used, perhaps each step


def _shape(key: str, slot: Any, rank: int) -> tuple[int, int]:
    """The shape of an adapter's tensor for a slot: A is (rank, in), B is (out, rank)."""
    return (rank, slot[1]) if key.endswith("A") else (slot[0], rank)


def _fill(slot: Tensor, tensor: Tensor) -> None:
    slot[: tensor.shape[0], : tensor.shape[1]].copy_(tensor)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if (folder / "lora_weights.safetensors").is_file():
            tensors = load_file(folder / "lora_weights.safetensors")
        else:
            content = torch.load(folder / "lora_weights.ckpt", map_location="cpu", weights_only=True)
            tensors = content.get("state_dict", content)
    except FileNotFoundError:
        raise _wrong(folder.name, "it has no lora_weights.safetensors") from None
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise _wrong(folder.name, "its weights are damaged") from error
    return {key: tensor.float() for key, tensor in tensors.items()}


def _wrong(name: str, why: str) -> BackendError:
    return BackendError("bad_config", f"LoRA {name}: {why}")
