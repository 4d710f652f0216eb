"""The LoRA adapters of a backend: which ones its folder holds, and the one that new streams get.

Engines change adapters with each sentence, so nothing has to be loaded ahead: the default is one of the options of the
streams that begin from now on. What runs already notices nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from voice_server.core.errors import UnknownLora
from voice_server.core.limits import VoiceLimits
from voice_server.stream.backend import Backend

_LISTED = VoiceLimits().listed
_CONFIG = "lora_config.json"
_WEIGHTS = ("lora_weights.safetensors", "lora_weights.ckpt")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The adapters in a backend's folder, as far as their files tell; what is inside them, the engine verifies."""

    names: list[str]
    failed: dict[str, str]  # by name: what is missing


async def shelf_of(backend: Backend) -> Shelf:
    return await asyncio.to_thread(read_shelf, backend.lora_folder)


async def check_lora(backend: Backend, name: str) -> None:
    """Raises UnknownLora."""
    shelf = await shelf_of(backend)
    if name in shelf.names:
        return
    if name in shelf.failed:
        raise UnknownLora(f"this LoRA adapter cannot be used: {shelf.failed[name]}", field="name")
    known = ", ".join(shelf.names[:_LISTED]) or "none"
    raise UnknownLora(f"there is no such LoRA adapter; known are {known}", field="name")


async def make_default(backend: Backend, name: str) -> None:
    """Streams that begin from now on have it, unless they name another one. Raises UnknownLora, BadOption."""
    await check_lora(backend, name)
    backend.validate_options({"lora": name})
    backend.default_options = {"lora": name}


def drop_default(backend: Backend) -> None:
    """Streams that begin from now on have none, unless they name one."""
    backend.default_options = {}


def default_of(backend: Backend) -> str:
    """The adapter that new streams get; "" is none."""
    return str(backend.default_options.get("lora", ""))


def read_shelf(folder: Path | None) -> Shelf:
    try:
        found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder else []
    except OSError:
        found = []
    failed = {path.name: lack for path in found if (lack := _lack(path))}
    return Shelf([path.name for path in found if path.name not in failed], failed)


def _lack(folder: Path) -> str:
    if not (folder / _CONFIG).is_file():
        return f"it has no {_CONFIG}"
    return "" if any((folder / name).is_file() for name in _WEIGHTS) else f"it has no {_WEIGHTS[0]}"
