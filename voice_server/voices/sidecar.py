"""What is told about a voice beside its sound: `NAME.json`, strict, and small enough to be written by hand.

All fields are optional. What a person wrote is kept as it is or refused with the field's name; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from voice_server.core.errors import BadSample
from voice_server.core.limits import ConfigLimits, VoiceLimits
from voice_server.core.voice_names import is_voice_name

_LIMITS = VoiceLimits()
_LINE = rf"^[^\x00-\x1f\x7f]{{0,{_LIMITS.about_chars}}}\Z"

Line = Annotated[str, Meta(pattern=_LINE)]
Language = Annotated[str, Meta(pattern=r"^([A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3})?\Z")]
Names = Annotated[tuple[str, ...], Meta(max_length=_LIMITS.aliases)]
_NAME_CHARS = ConfigLimits().name_chars

_RIGHT = {
    "language": "a language's code as in de or en-GB",
    "consent": f"a line of up to {_LIMITS.about_chars} characters",
    "licence": f"a line of up to {_LIMITS.about_chars} characters",
    "aliases": f"up to {_LIMITS.aliases} names that a voice can have",
    "default_of": f"up to {_LIMITS.aliases} names of backends",
}


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    language: Language = ""
    consent: Line = ""  # who agreed to what, in words of the person or of their paper
    licence: Line = ""
    aliases: Names = ()  # other names that clients may say
    default_of: Names = ()  # backends for which it is the default voice


NOTHING = About()


def check_about(about: About) -> About:
    """Raises BadSample, which names the field."""
    return read_about(msgspec.json.encode(about))


def read_about(content: bytes) -> About:
    """Raises BadSample, which names the field where one is to blame."""
    try:
        about = msgspec.json.decode(content, type=About)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _wrong(str(error)) from error
    if not all(map(is_voice_name, about.aliases)):
        raise _wrong("$.aliases")
    if not all(0 < len(name) <= _NAME_CHARS and name.isprintable() for name in about.default_of):
        raise _wrong("$.default_of")
    return about


def write_about(about: About) -> bytes:
    return msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n"


def _wrong(why: str) -> BadSample:
    field = next((name for name in _RIGHT if f"$.{name}" in why), None)
    if field:
        return BadSample(f"{field} is to be {_RIGHT[field]}", field=field)
    return BadSample(f"what is told about it is not JSON with these fields only: {', '.join(_RIGHT)}")


def claims(abouts: Mapping[str, About]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Alias → voice, backend → its default voice, and voice → what it cannot have. The first voice to claim has it."""
    aliases: dict[str, str] = {}
    defaults: dict[str, str] = {}
    refused: dict[str, str] = {}
    for voice, about in abouts.items():
        lost = [f"the alias {alias}: {_owner(alias, abouts, aliases)}" for alias in _taken(voice, abouts, aliases)]
        for backend in about.default_of:
            if defaults.setdefault(backend, voice) != voice:
                lost.append(f"the place as default of {backend}: {defaults[backend]} has it")
        aliases |= {alias: voice for alias in about.aliases if alias not in abouts and alias not in aliases}
        if lost:
            refused[voice] = f"it cannot have {'; nor '.join(lost)}; take it out of one of them"
    return aliases, defaults, refused


def _taken(voice: str, abouts: Mapping[str, About], aliases: Mapping[str, str]) -> list[str]:
    return [alias for alias in abouts[voice].aliases if alias in abouts or alias in aliases]


def _owner(alias: str, abouts: Mapping[str, About], aliases: Mapping[str, str]) -> str:
    return "a voice is called so" if alias in abouts else f"{aliases[alias]} has it"
