"""The doors for LoRA adapters: GET `/loras`, POST `/loras/load`, POST `/loras/unload`.

`load` makes an adapter the default of the streams that begin from now on, `unload` ends that; what runs already, and
who names a `lora` itself, notices nothing. All three answer with what holds afterwards.
"""

from __future__ import annotations

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from voice_server.core.errors import VoiceError
from voice_server.gateway.bodies import read_body
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import error_response
from voice_server.stream.backend import Backend
from voice_server.stream.loras import check_lora, default_of, drop_default, make_default, shelf_of


class LoraRequest(msgspec.Struct):
    name: str
    backend: str = ""


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
        if is_default:
            await make_default(backend, wanted.name)
        else:
            await _drop(backend, wanted.name)
        return await _tell(backend)
    except VoiceError as error:
        return error_response(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this


async def _drop(backend: Backend, name: str) -> None:
    await check_lora(backend, name)
    if default_of(backend) == name:
        drop_default(backend)


async def _tell(backend: Backend) -> Response:
    shelf = await shelf_of(backend)
    return JSONResponse({"loras": shelf.names, "failed": shelf.failed, "default": default_of(backend)})
