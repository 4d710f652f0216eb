"""The table of the port `voxcpmex`: packets of msgpack in → requests; what is spoken → packets out.

It is the protocol between VoxCPMEx and its Python bridge: each request is answered in the order of requests, and each
gets exactly one reply, or a `stream_start`, its chunks, and one of `stream_end` and `stream_error`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from voice_server.core.audio.pcm import SAMPLE_BYTES, duration_s, wav_header
from voice_server.core.audio.raw_formats import to_raw
from voice_server.core.errors import BadMessage, VoiceError
from voice_server.core.limits import Limits

# What msgpack refuses has no common base: see wire/frames.
_REFUSALS = (ValueError, TypeError, msgpack.UnpackException, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Init:
    """What the client would have loaded. None: it said nothing of it."""

    model: str | None = None
    device: str | None = None
    load_denoiser: bool | None = None
    optimize: bool | None = None


@dataclass(frozen=True, slots=True)
class Generate:
    text: str
    streams: bool
    voice: str = ""
    audio_prompt: str = ""  # a voice or a file: its timbre
    prompt_wav_path: str = ""  # the same, to be gone on from: `prompt_text` is what it says
    prompt_text: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadLora:
    lora_path: str


@dataclass(frozen=True, slots=True)
class UnloadLora:
    pass


@dataclass(frozen=True, slots=True)
class Ping:
    pass


Request = Init | Generate | LoadLora | UnloadLora | Ping

_INIT: dict[str, type] = {"model": str, "device": str, "load_denoiser": bool, "optimize": bool}
_VOICES: dict[str, type] = {"voice": str, "audio_prompt": str, "prompt_wav_path": str, "prompt_text": str}
_KINDS: dict[type, str] = {str: "text", bool: "true or false"}


# In


def decode(body: bytes, limits: Limits) -> Request:
    """Raises BadMessage."""
    said = _read(body)
    kind = said.pop("type", None)
    given = {name: value for name, value in said.items() if value is not None}  # nil: left out
    match kind:
        case "init":
            return Init(**_typed(given, _INIT))
        case "generate" | "generate_streaming":
            return _generate(given, streams=kind == "generate_streaming")
        case "load_lora":
            return LoadLora(_text(given, "lora_path"))
        case "unload_lora":
            return UnloadLora()
        case "ping":
            return Ping()
    raise BadMessage(f"Unknown request type: {str(kind)[: limits.text.problem_chars]}", field="type")


def _read(body: bytes) -> dict[str, Any]:
    try:
        said = msgpack.unpackb(body)
    except _REFUSALS:
        said = None
    if not isinstance(said, dict):
        raise BadMessage("a request is one msgpack map with names as keys")
    return said


def _generate(given: dict[str, Any], *, streams: bool) -> Generate:
    told = {name: given.pop(name) for name in _VOICES if name in given}
    text = _text(given, "text")
    del given["text"]
    return Generate(text, streams, **_typed(told, _VOICES), options=given)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadMessage(f"{name} must be text that is not blank", field=name)
    return value


def _typed(given: Mapping[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    for name, value in given.items():
        if name not in kinds:
            raise BadMessage(f"unknown key {name[:40]!r}; known are {', '.join(kinds)}", field=name[:40])
        if not isinstance(value, kinds[name]):
            raise BadMessage(f"{name} must be {_KINDS[kinds[name]]}", field=name)
    return dict(given)


# Out


def initialised(device: str, sample_rate: int, backend: str, notes: Collection[str]) -> bytes:
    """`notes` is ours: what was asked for and is otherwise here."""
    return _ok(device=device, sample_rate=sample_rate, backend=backend, notes=list(notes))


def notes_on(wanted: Init, backend: str, model: str, device: str) -> list[str]:
    """What this backend does not do as the client wanted, in words. A request to load cannot change what runs."""
    notes = []
    if wanted.model and wanted.model != model:
        notes.append(f"model: the backend {backend} speaks, as the port was started")
    if wanted.device and wanted.device.partition(":")[0] != device:
        notes.append(f"device: {backend} runs on {device}")
    if wanted.load_denoiser:
        notes.append("load_denoiser: recordings are cleaned, but no denoiser is loaded")
    return notes


def audio(pcm: bytes, sample_rate: int) -> bytes:
    """`pcm` (s16le) as a WAV."""
    wav = wav_header(sample_rate, len(pcm)) + pcm
    return _ok(audio=wav, sample_rate=sample_rate, duration=duration_s(len(pcm), sample_rate))


def stream_start(sample_rate: int) -> bytes:
    return _packed({"type": "stream_start", "sample_rate": sample_rate})


def stream_chunk(index: int, pcm: bytes) -> bytes:
    """`pcm` is s16le."""
    told = {"index": index, "length": len(pcm) // SAMPLE_BYTES}
    return _packed({"type": "stream_chunk", "chunk": to_raw(pcm, "pcm_f32le"), **told})


def stream_end(total_chunks: int) -> bytes:
    return _packed({"type": "stream_end", "total_chunks": total_chunks})


def stream_error(problem: VoiceError) -> bytes:
    return _packed({"type": "stream_error", "error": problem.message, "code": problem.code})


def lora_loaded(loaded: int) -> bytes:
    return _ok(loaded=loaded, skipped=0)


def unloaded() -> bytes:
    return _ok()


def pong() -> bytes:
    return _ok(message="pong")


def error(problem: VoiceError) -> bytes:
    return _packed({"status": "error", "error": problem.message, "code": problem.code})


def _ok(**told: Any) -> bytes:
    return _packed({"status": "ok", **told})


def _packed(message: dict[str, Any]) -> bytes:
    return bytes(msgpack.packb(message))
