"""The options of one render. Promises: whatever `read` returns is of the right type, finite and within a range in which
the engine does what it says; outside of it, voxcpm answers with noise, with NaN or with an unrelated exception.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Mapping

from voice_server.worker.adapter import BackendError


@dataclass(frozen=True)
class Settings:
    seed: int = -1  # -1: derived from the voice, so that a voice always begins alike
    cfg_value: float = 2.0  # guidance: more of the text and the voice, less variety
    inference_timesteps: int = 10  # of the diffusion; the first one does nothing
    min_len: int = 2  # steps before which the engine may not stop
    max_len: int = 4096  # steps; one is 80 ms (0.5B) or 160 ms
    normalize: bool = False
    denoise: bool = False
    retry_badcase: bool = False  # speak anew what came out far too long; nothing is heard before it is complete
    retry_badcase_max_times: int = 3
    retry_badcase_ratio_threshold: float = 6.0  # steps per token of text: the length cap
    prompt_text: str = ""  # what the voice's sample says, where the voice has no transcript
    design: str = ""  # "calm elderly man": a voice from its description
    lora: str = ""


_RANGES = {
    "seed": (-1, 2**32 - 1),
    "cfg_value": (0.1, 10.0),
    "inference_timesteps": (2, 50),  # with 1 the result is the noise that it starts from
    "min_len": (0, 1000),
    "max_len": (4, 4096),  # below 4 the cap cuts what could not have ended yet
    "retry_badcase_max_times": (1, 10),
    "retry_badcase_ratio_threshold": (1.0, 20.0),
}
_TEXT_CHARS = {"prompt_text": 1024, "design": 200, "lora": 64}
_KINDS = {"int": "an integer", "float": "a number", "bool": "true or false", "str": "a text"}


def read(options: Mapping[str, Any]) -> Settings:
    """The settings of a render. Raises BackendError("bad_option") for the first option that does not fit."""
    known = {field.name: str(field.type) for field in fields(Settings)}
    for name, value in options.items():
        if name not in known:
            raise _bad(f"unknown option {name!r}; known are {', '.join(known)}")
        _check(name, value, known[name])
    settings = Settings(**options)
    if settings.min_len > settings.max_len:
        raise _bad("min_len is above max_len")
    return settings


def _check(name: str, value: object, kind: str) -> None:
    if not _is_of(kind, value):
        raise _bad(f"{name} is {_KINDS[kind]}")
    if isinstance(value, str):
        if len(value) > _TEXT_CHARS[name]:
            raise _bad(f"{name} has at most {_TEXT_CHARS[name]} characters")
    elif name in _RANGES:
        low, high = _RANGES[name]
        if not low <= value <= high:  # type: ignore[operator]  # a number, or it had not come so far
            raise _bad(f"{name} is between {low} and {high}")


def _is_of(kind: str, value: object) -> bool:
    if kind in ("bool", "str"):
        return type(value).__name__ == kind
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) if kind == "int" else math.isfinite(value)


def _bad(message: str) -> BackendError:
    return BackendError("bad_option", message)
