"""The table of the voices' doors: the fields of a form → a voice that is wanted; voices → what is told of them.

Names are OpenAI's where it has one (openai-python 3.52: types/audio/voice_create_params.py, voice.py and others).
docs/voices.md is our own specification. Two spellings of a field are the same field; others are ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from voice_server.core.errors import BadMessage, UnknownVoice, VoiceError, VoiceExists
from voice_server.core.limits import VoiceLimits
from voice_server.core.voice_names import is_voice_name

FILES = ("audio_sample", "file")  # OpenAI's name for the sound, and curl users'
AUTO = "auto"  # for a transcript: what is heard
ENGINE, SAMPLE = "engine", "sample"
_OBJECT = "audio.voice"
_SPELLINGS = {"transcript": ("transcript", "ref_text"), "licence": ("licence", "license")}


def field(fields: Mapping[str, str], name: str) -> str:
    """The value of a field under any of its names, on one line; "" where it was not sent."""
    found = (fields[spelling] for spelling in _SPELLINGS.get(name, (name,)) if spelling in fields)
    return " ".join(next(found, "").split())


def names(fields: Mapping[str, str], name: str) -> tuple[str, ...]:
    """A field that is a list with commas in it."""
    return tuple(filter(None, (part.strip() for part in field(fields, name).split(","))))


def check_form(fields: Mapping[str, str]) -> None:
    """OpenAI's clients may ask for a voice that is described in words, which cannot be kept here. Raises BadMessage."""
    if fields.get("type", "audio_sample") != "audio_sample":
        raise BadMessage("voices are made from a sound here; describe one with the option design", field="type")


def check_name(name: str, engines: Mapping[str, Collection[str]]) -> None:
    """`engines`: the voices that each backend has of its own. Raises BadMessage and VoiceExists."""
    if not name:
        raise BadMessage("the voice needs a name: send the field name", field="name")
    if not is_voice_name(name):
        raise BadMessage("a name is letters and digits, and between them space and + - . _", field="name")
    owner = next((backend for backend, voices in engines.items() if name in voices), None)
    if owner is not None:
        raise VoiceExists(f"{name} is a voice of the engine of {owner}; choose another name", field="name")


def check_samples_voice(name: str, samples: Collection[str], engines: Mapping[str, Collection[str]]) -> None:
    """Only a voice from a sample has a file. Raises BadMessage and UnknownVoice."""
    if name in samples:
        return
    if any(name in voices for voices in engines.values()):
        raise BadMessage(f"{name} is a voice of an engine: it has no sample, and cannot be deleted", field="name")
    raise UnknownVoice("there is no voice of this name that was made from a sample", field="name")


# What is told


def error_body(error: VoiceError) -> dict[str, Any]:
    """OpenAI's envelope around our own codes and fields."""
    kind = "invalid_request_error" if error.http_status < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind, "param": error.field, "code": error.code}}


def engine_voice(name: str, backend: str) -> dict[str, Any]:
    return {"id": name, "name": name, "model": backend, "kind": ENGINE, "backends": [backend]}


def sample_voice(name: str, backends: Sequence[str], about: Mapping[str, Any]) -> dict[str, Any]:
    """`backends`: those that can speak it now. Where there is none, its `model` is null."""
    model = backends[0] if backends else None
    return {"id": name, "name": name, "model": model, "kind": SAMPLE, "backends": list(backends), **about}


def told_limits(limits: VoiceLimits) -> dict[str, Any]:
    """Of what a voice is made of: a page can check it before it sends anything."""
    told = ("sample_bytes", "sample_min_s", "sample_max_s", "name_chars", "transcript_chars")
    return {name: getattr(limits, name) for name in told}


def created(voice: Mapping[str, Any], created_at: int) -> dict[str, Any]:
    return {**voice, "object": _OBJECT, "type": "audio_sample", "created_at": created_at}


def deleted(name: str) -> dict[str, Any]:
    return {"id": name, "deleted": True, "object": f"{_OBJECT}.deleted"}
