"""The door that restarts a backend: POST and GET `/backends/{name}/restart`.

POST replaces its workers one by one and answers at once; GET tells how the last restart goes, or went. Nobody who
speaks or listens meanwhile notices.
"""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voice_server.core.errors import UnknownBackend, VoiceError
from voice_server.gateway.house import House
from voice_server.gateway.security import error_response
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser


async def restart(request: Request) -> Response:
    """Replace the workers of a backend one by one; answers before that is done."""
    try:
        backend = _find(request)
        backend.pool.restart(stops_first=backend.config.roll == "stop-first")
    except VoiceError as error:
        return error_response(error)
    return _tell(backend, status_code=202)


async def restart_status(request: Request) -> Response:
    """How the last restart of a backend goes, or went."""
    try:
        return _tell(_find(request))
    except VoiceError as error:
        return error_response(error)


def _find(request: Request) -> Backend | Recogniser:
    house: House = request.app.state.house
    name = request.path_params["name"]
    for backend in house.all:
        if backend.name == name:
            return backend
    raise UnknownBackend(f"this server runs {', '.join(one.name for one in house.all)}", field="name")


def _tell(backend: Backend | Recogniser, status_code: int = 200) -> Response:
    roll = backend.pool.last_roll
    told = asdict(roll.status) if roll else {"state": "never", "replaced": 0, "workers": 0, "reason": ""}
    return JSONResponse({"backend": backend.name, "roll": backend.config.roll, **told}, status_code)
