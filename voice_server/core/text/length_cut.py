"""Cuts a sentence before its end: at a clause mark when it is long, anywhere harmless when it is too long, and behind
its first clause when somebody waits for the first word.

Promises: a cut depends only on the characters read up to the one that forced it, and never splits a visible character
or a `[laugh]` tag.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from voice_server.core.limits import TextLimits

# An ASCII or Arabic mark needs white space after it: 1,000 and 10:30 are no clauses.
_CLAUSE_END = re.compile(r"[,;:،؛]\s|[、，；：—၊]")
_FIRST_CLAUSE_END = re.compile(rf"(?<![\d.])(?:{_CLAUSE_END.pattern})")  # not in "March 3, 2024", nor behind "e.g.,"
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_PAIRS = list(zip("([{“«「『（《【", ")]}”»」』）》】", strict=True))
_OPEN_TAG = re.compile(r"\[[\w -]{0,40}\Z")
_TAG_CHARS = 42

_ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True, slots=True)
class LengthCut:
    """A cut before text[at], known since text[:seen] has been read."""

    seen: int
    at: int


def length_cut(text: str, limits: TextLimits) -> LengthCut | None:
    """The cut that the length of `text`, which does not begin with white space, forces; None while it is short."""
    hard = limits.sentence_hard_chars
    clause = _CLAUSE_END.search(text, limits.sentence_soft_chars - 1, hard)
    if clause:
        return LengthCut(clause.end(), clause.end())
    return LengthCut(hard + 1, _hard_cut(text, hard)) if len(text) > hard else None


def clause_cut(text: str, limits: TextLimits) -> int:
    """Where the first clause of `text` ends that is long enough to be spoken ahead of the rest; 0: there is none."""
    ends = (match.end() for match in _FIRST_CLAUSE_END.finditer(text))
    return next((end for end in ends if _stands_alone(text[:end], limits)), 0)


def _stands_alone(clause: str, limits: TextLimits) -> bool:
    """Nothing is open in it, and there is enough to say outside of its brackets: those may hold a voice's description
    or a link."""
    plain = _ASIDE.sub("", clause)
    is_open = any(plain.count(begin) != plain.count(end) for begin, end in _PAIRS)
    is_quoting = plain.count('"') % 2 or plain.count("`") % 2
    return not is_open and not is_quoting and len(plain.strip()) >= limits.eager_clause_chars


def _hard_cut(text: str, hard: int) -> int:
    whole_character = _last_whole_character(text, hard)
    return _before_tag(text, _last_space(text, hard)) or _before_tag(text, whole_character) or hard


def _before_tag(text: str, cut: int) -> int:
    tag = _OPEN_TAG.search(text, max(0, cut - _TAG_CHARS), cut)
    return tag.start() if tag else cut


def _last_space(text: str, end: int) -> int:
    if text[end].isspace() or text[end - 1].isspace():
        return end
    return end - len(text[:end].split()[-1])


def _last_whole_character(text: str, end: int) -> int:
    """The last place up to `end` where a visible character begins; 0 when there is none."""
    while end and _is_one_character(text[end - 1], text[end]):
        end -= 1
    return end


def _is_one_character(before: str, after: str) -> bool:
    return (
        unicodedata.category(after).startswith("M")  # accents, variation selectors, keycaps
        or _ZERO_WIDTH_JOINER in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"  # skin tones
        or all("\U0001f1e6" <= letter <= "\U0001f1ff" for letter in (before, after))  # flags are two letters
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
    )
