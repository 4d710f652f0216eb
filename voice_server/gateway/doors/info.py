"""The doors that only tell: `/`, `/voices`, `/backends`, `/health`, `/ready`, `/status`, `/metrics`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voice_server.core.errors import VoiceError
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import error_response
from voice_server.observe.metrics import CONTENT_TYPE
from voice_server.pool.pool import Pool
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser


async def index(request: Request) -> JSONResponse:
    """What a client of the original asks first: who speaks, with how many voices, at which rate."""
    house: House = request.app.state.house
    backend = house.default
    return JSONResponse(
        {
            "backend": backend.name,
            "voices": len(backend.voices),
            "sample_rate": house.limits.stream.sample_rate,
            "native_sample_rate": backend.sample_rate,
        }
    )


@told(query={"backend": "its name; left out, the default one"})
async def voices(request: Request) -> Response:
    """The names of the voices, and the other names they go by."""
    house: House = request.app.state.house
    try:
        backend = house.backend(request.query_params.get("backend", ""))
    except VoiceError as error:
        return error_response(error)
    return JSONResponse({"voices": backend.voices, "aliases": backend.config.aliases})


async def backends(request: Request) -> JSONResponse:
    """Each backend, what it can, and its workers: those that speak, the default first, then those that listen."""
    house: House = request.app.state.house
    return JSONResponse({"backends": [_describe(backend) for backend in house.all]})


def _describe(backend: Backend | Recogniser) -> dict[str, Any]:
    config, pool = backend.config, backend.pool
    return {
        "name": backend.name,
        "kind": config.kind,
        "state": _state(pool),
        "ready": pool.is_ready,
        "problem": pool.problem,
        "sample_rate": backend.sample_rate,
        "licence": config.licence,
        **(_hears(backend) if isinstance(backend, Recogniser) else _speaks(backend)),
        "options": {name: asdict(spec) for name, spec in config.opts.items()},
        "workers": [asdict(slot) for slot in pool.slots],
    }


def _state(pool: Pool[Any]) -> str:
    """In one word: ready, loading or broken."""
    if pool.is_ready:
        return "ready"
    return "loading" if any(slot.may_recover for slot in pool.slots) else "broken"


def _speaks(backend: Backend) -> dict[str, Any]:
    return {
        "languages": list(backend.config.languages),
        "voices": backend.voices,
        "voice": _default_voice(backend),
        "can_clone": backend.pool.ready is not None and backend.pool.ready.can_clone,
        "streams": backend.config.streams,
        "tags": list(backend.config.tags),
        "lora": backend.lora_folder is not None,
    }


def _hears(recogniser: Recogniser) -> dict[str, Any]:
    """All of them tell text while they listen."""
    nothing: dict[str, Any] = {"voices": [], "voice": "", "can_clone": False, "tags": [], "lora": False}
    return {"languages": recogniser.languages, "streams": True, **nothing}


def _default_voice(backend: Backend) -> str:
    """Whose voice a client gets that names none; "" while nobody knows it."""
    try:
        return backend.resolve_voice("")
    except VoiceError:
        return ""


async def status(request: Request) -> Response:
    """Who renders what, and who waits for it: `top` shows it."""
    house: House = request.app.state.house
    return Response(msgspec.json.encode(house.status), media_type="application/json")


@told(answers=("text/plain",))
async def metrics(request: Request) -> Response:
    """What the server is doing and what its listeners heard, for Prometheus."""
    house: House = request.app.state.house
    return Response(house.metrics.text(), headers={"content-type": CONTENT_TYPE})


async def health(request: Request) -> JSONResponse:
    """Alive: the event loop answers."""
    return JSONResponse({"status": "alive"})


async def ready(request: Request) -> JSONResponse:
    """Able to speak; 503 with the reason until then. Who shows no token where one is wanted gets the status alone."""
    house: House = request.app.state.house
    problem, is_known = house.problem, house.gate.knows(request)
    if problem:
        why = {"reason": problem} if is_known else {}
        return JSONResponse({"status": "not ready", **why}, status_code=503)
    if not is_known:
        return JSONResponse({"status": "ready"})
    able = [backend.name for backend in house.backends.values() if backend.pool.is_ready]
    listening = [recogniser.name for recogniser in house.recognisers.values() if recogniser.pool.is_ready]
    return JSONResponse({"status": "ready", "backends": able, "listening": listening})
