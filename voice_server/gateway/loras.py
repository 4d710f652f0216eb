"""The doors for LoRA adapters: GET `/loras`, POST `/loras/load`, POST `/loras/unload`.

Engines change adapters with each sentence, so nothing has to be loaded ahead. `load` makes an adapter the default of
the streams that begin from now on, `unload` ends that; what runs already, and who names a `lora` itself, notices
nothing. All three answer with what holds afterwards.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from voice_server.core.errors import UnknownLora, VoiceError
from voice_server.core.limits import VoiceLimits
from voice_server.gateway.bodies import read_body
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import error_response
from voice_server.stream.backend import Backend

_LISTED = VoiceLimits().listed
_CONFIG = "lora_config.json"
_WEIGHTS = ("lora_weights.safetensors", "lora_weights.ckpt")


class LoraRequest(msgspec.Struct):
    name: str
    backend: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The adapters in a backend's folder, as far as their files tell; what is inside them, the engine verifies."""

    names: list[str]
    failed: dict[str, str]  # by name: what is missing


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


@told(query={"backend": "its name; left out, the default one"})
async def loras(request: Request) -> Response:
    """The LoRA adapters of a backend, those that cannot be used, and the one that new streams get."""
    house: House = request.app.state.house
    try:
        return await _tell(house.backend(request.query_params.get("backend", "")))
    except VoiceError as error:
        return error_response(error)


@told(body=LoraRequest)
async def load(request: Request) -> Response:
    """Make a LoRA adapter the default of streams that begin from now on."""
    return await _change(request, is_default=True)


@told(body=LoraRequest)
async def unload(request: Request) -> Response:
    """Let streams that begin from now on have no LoRA adapter, if this one was the default."""
    return await _change(request, is_default=False)


async def _change(request: Request, *, is_default: bool) -> Response:
    house: House = request.app.state.house
    try:
        wanted = await read_body(request, LoraRequest, house.limits.text)
        backend = house.backend(wanted.backend)
        shelf = await _shelf(backend)
        if wanted.name not in shelf.names:
            raise UnknownLora(_unknown(shelf, wanted.name), field="name")
        if is_default:
            backend.validate_options({"lora": wanted.name})
            backend.default_options = {"lora": wanted.name}
        elif backend.default_options.get("lora") == wanted.name:
            backend.default_options = {}
        return await _tell(backend)
    except VoiceError as error:
        return error_response(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this


async def _shelf(backend: Backend) -> Shelf:
    return await asyncio.to_thread(read_shelf, backend.lora_folder)


def _unknown(shelf: Shelf, name: str) -> str:
    if name in shelf.failed:
        return f"this LoRA adapter cannot be used: {shelf.failed[name]}"
    return f"there is no such LoRA adapter; known are {', '.join(shelf.names[:_LISTED]) or 'none'}"


async def _tell(backend: Backend) -> Response:
    shelf = await _shelf(backend)
    default = backend.default_options.get("lora", "")
    return JSONResponse({"loras": shelf.names, "failed": shelf.failed, "default": default})
