"""The description of a voice that an answer may begin with: "(calm elderly man) Good evening."

A text of parentheses alone is none: there would be nothing to say.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from voice_server.core.limits import TextLimits

_LIMITS = TextLimits()
_LEADING = re.compile(rf"\s*\(([^()]{{1,{_LIMITS.description_chars}}})\)\s*(?=.*\w)", re.DOTALL)


class Described(NamedTuple):
    description: str  # "" where the text begins with none
    text: str  # to be spoken


def take_description(text: str) -> Described:
    match = _LEADING.match(text)
    if match is None or not match[1].strip():
        return Described("", text)
    return Described(match[1].strip(), text[match.end() :])
