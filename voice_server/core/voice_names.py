"""What a voice may be called, and which voice a client means.

Promises: a name that passes here has no meaning to any file system or shell. It is still only ever a key of a table
that was built by scanning, never a part of a path.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from voice_server.core.errors import UnknownVoice
from voice_server.core.limits import VoiceLimits

_LIMITS = VoiceLimits()
_INNER = " +-._"  # also allowed, but not as the first character; "+" is how engines write a blend
_BLENDED = re.compile(r"([^()+]+)(\(\d{1,4}(?:\.\d{1,4})?\))?")  # a voice of a blend, and its weight
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{number}" for port in ("COM", "LPT") for number in range(10))}


def is_voice_name(name: str) -> bool:
    """Whether a voice may have this name: letters and digits of any script, and a few signs between them."""
    return (
        0 < len(name) <= _LIMITS.name_chars
        and _is_letter_or_digit(name[0], "LN")
        and all(_is_letter_or_digit(char, "LMN") or char in _INNER for char in name)
        and name[-1] not in " ."  # Windows drops them: two names, one file
        and unicodedata.is_normalized("NFC", name)  # the same name in two spellings would be two voices
        and name.split(".")[0].upper() not in _RESERVED
    )


def resolve(name: str, voices: Sequence[str], aliases: Mapping[str, str], blends: bool = False) -> str:
    """The voice that `name` stands for: itself, what its alias points to, or the first voice for "".

    With `blends` also "a(2)+b(1)", where the engine can blend voices. Raises UnknownVoice, which lists a few that
    would do.
    """
    if not name and voices:
        return voices[0]
    voice = name if name in voices else aliases.get(name, name)
    if voice in voices:
        return voice
    if blends and (parts := _blended(name)):
        return "+".join(resolve(part[1], voices, aliases) + (part[2] or "") for part in parts)
    raise UnknownVoice(f"{_quote(name)}; {_known(voices)}", field="voice")


def _blended(name: str) -> list[re.Match[str]]:
    """The voices of a blend with their weights; none if it is no blend."""
    parts = name.split("+", _LIMITS.blended - 1)  # what is left over stays with the last, which is none then
    found = [match for part in parts if (match := _BLENDED.fullmatch(part))]
    return found if len(found) == len(parts) else []


def _is_letter_or_digit(char: str, categories: str) -> bool:
    return char == "_" or unicodedata.category(char)[0] in categories


def _quote(name: str) -> str:
    return f"there is no voice {name!r}" if is_voice_name(name) else "that is not the name of a voice"


def _known(voices: Sequence[str]) -> str:
    if not voices:
        return "this backend has none"
    more = len(voices) - _LIMITS.listed
    return "known are " + ", ".join(voices[: _LIMITS.listed]) + (f" and {more} more" if more > 0 else "")
