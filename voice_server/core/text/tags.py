"""Tags in a text, as in [laugh]: an engine that understands one performs it, for all others it is no word.

Promises: a tag is never spoken as a word; what an engine does not understand is taken out, and is named, so that the
client can be told. Other text in brackets, as in [1] or [see below], is no tag and stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection

# What models write because some engine understands it. A backend that lists more of them makes more of them known.
_USUAL = ("laugh", "chuckle", "sigh", "cough", "throat", "clear throat", "sneeze", "sniff", "gasp", "groan", "shush")


def understood_only(text: str, understood: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The text with those tags alone that are understood, and the ones that were taken out; "" where no word is left.

    `understood` are names as in laugh. Those that stay are written as they are listed.
    """
    listed = {tag.casefold(): tag for tag in understood}
    names = "|".join(re.escape(name) for name in sorted({*_USUAL, *listed}, key=len, reverse=True))
    tag = re.compile(rf"(\s*)\[\s*({names})\s*\](?=(\w)?)", re.IGNORECASE)
    dropped: list[str] = []

    def written(match: re.Match[str]) -> str:
        name = match[2].casefold()
        if name in listed:
            return f"{match[1]}[{listed[name]}]"
        dropped.append(name)
        return " " if match[3] else ""

    before = ""
    while text != before:  # what is taken out may bring another one together
        before, text = text, tag.sub(written, text)
    text = text.strip()
    return (text if any(map(str.isalnum, text)) else ""), tuple(dropped)
