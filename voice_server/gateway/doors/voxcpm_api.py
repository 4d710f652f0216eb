"""The HTTP doors beside WS `/tts`: `/api/config` and `/api/voices…`, as clients of the VoxCPM TTS server know them.

A voice's id is its category, a hyphen, and its name. The engine's own voices are the category that bears the backend's
name; those of the folder of samples have recordings, which are served here. No client's word becomes part of a path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from voice_server.core.doors.voxcpm_tts_protocol import NON_STREAMING, PARAMS, STREAMING, voice_name
from voice_server.core.errors import UnknownVoice, VoiceError
from voice_server.gateway.doors.voices import file_of
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import error_response
from voice_server.stream.backend import Backend
from voice_server.voices import MEDIA_TYPES

SAMPLES = "samples"  # the category of voices that are cloned from a file
_DEFAULTS = {"cfg_value": 2.0, "inference_timesteps": 10, "normalize": False, "denoise": False}
_BACKEND = {"backend": "its name; left out, the default one"}


@dataclass(frozen=True, slots=True)
class Voice:
    category: str
    name: str
    transcript: str
    is_recorded: bool

    @property
    def told(self) -> dict[str, Any]:
        name = f"{self.category}-{self.name}"
        audio_url = f"/api/voices/{name}/audio" if self.is_recorded else None
        return {"id": name, "name": self.name, "sample_text": self.transcript, "audio_url": audio_url}

    def has(self, words: str) -> bool:
        return any(words in text.casefold() for text in (self.category, self.name, self.transcript))


def categories(backend: Backend) -> list[str]:
    return [SAMPLES, backend.name]


def catalogue(backend: Backend) -> list[Voice]:
    return [_voice(backend, name) for name in backend.voices]


def _voice(backend: Backend, name: str) -> Voice:
    sample = backend.sample(name)
    return Voice(SAMPLES if sample else backend.name, name, sample.transcript if sample else "", bool(sample))


@told(query=_BACKEND)
async def config(request: Request) -> Response:
    """Where VoxCPM TTS clients connect to, and what their parameters may be."""
    return _answer(request, lambda backend: _config(request, backend))


@told(query={"category": "of this one only", "search": "a list of voices with these words in them", **_BACKEND})
async def voices(request: Request) -> Response:
    """The voices by category, as VoxCPM TTS clients show them."""
    return _answer(request, lambda backend: _voices(request, backend))


@told(query=_BACKEND)
async def voice_categories(request: Request) -> Response:
    """The categories of voices, and how many are in each."""
    return _answer(request, lambda backend: {"categories": _counted(backend)})


@told(query=_BACKEND)
async def voice_stats(request: Request) -> Response:
    """How many voices there are."""
    return _answer(request, _stats)


@told(query=_BACKEND, answers=tuple(dict.fromkeys(MEDIA_TYPES.values())))
async def voice_audio(request: Request) -> Response:
    """The recording that a cloned voice was made from."""
    house: House = request.app.state.house
    try:
        backend = house.backend(request.query_params.get("backend", ""))
        name = voice_name(request.path_params["voice_id"], backend.voices, categories(backend))
        if sample := backend.sample(name):
            return await file_of(sample)
        raise UnknownVoice("no voice of this id has a recording", field="voice_id")
    except VoiceError as error:
        return error_response(error)


def _answer(request: Request, tell: Callable[[Backend], dict[str, Any]]) -> Response:
    house: House = request.app.state.house
    try:
        return JSONResponse(tell(house.backend(request.query_params.get("backend", ""))))
    except VoiceError as error:
        return error_response(error)


def _config(request: Request, backend: Backend) -> dict[str, Any]:
    """With the names that clients use, and with those that the documents promise."""
    house: House = request.app.state.house
    url = f"{'wss' if request.url.scheme == 'https' else 'ws'}://{request.url.netloc}/tts"
    own = {name: spec.default for name, spec in backend.config.opts.items() if name in _DEFAULTS}
    defaults = {"mode": STREAMING, **_DEFAULTS, **{name: value for name, value in own.items() if value is not None}}
    numbers = {name: spec for name, spec in PARAMS.items() if spec.type in ("int", "float")}
    ranges = {name: {"min": spec.min, "max": spec.max} for name, spec in numbers.items()}
    most = house.limits.voxcpm_tts.text_chars
    constraints = {"max_text_length": most, "modes": [STREAMING, NON_STREAMING], **ranges}
    return {
        "wsUrl": url,
        "defaultParams": defaults,
        "websocket_url": url,
        "default_params": defaults,
        "constraints": constraints,
    }


def _voices(request: Request, backend: Backend) -> dict[str, Any]:
    """By category; for a search, which names a voice in any of them, a list."""
    category, words = request.query_params.get("category"), request.query_params.get("search", "").casefold()
    found = [voice for voice in catalogue(backend) if category in (None, "", voice.category) and voice.has(words)]
    if words:
        return {"voices": [{**voice.told, "category": voice.category} for voice in found], "total": len(found)}
    by_category: dict[str, list[dict[str, Any]]] = {}
    for voice in found:
        by_category.setdefault(voice.category, []).append(voice.told)
    return {"voices": by_category, "total": len(found)}


def _counted(backend: Backend) -> list[dict[str, Any]]:
    counts = Counter(voice.category for voice in catalogue(backend))
    return [{"name": name, "count": count} for name, count in sorted(counts.items())]


def _stats(backend: Backend) -> dict[str, Any]:
    counted = {one["name"]: one["count"] for one in _counted(backend)}
    return {
        "total_voices": sum(counted.values()),
        "total_categories": len(counted),
        "voices_per_category": counted,
        "initialized": backend.pool.ready is not None,
    }
