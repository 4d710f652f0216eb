"""Tells a stop that ends a sentence from one that belongs to an abbreviation, a number or an initial.

Promises: `doubt_about` needs no look-ahead, so a stop that cannot be anything but an end costs no delay; the rest asks
for the least look-ahead that settles it. Knows nothing of streams: it sees one open sentence and what follows it.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from itertools import accumulate
from typing import Protocol

from pysbd import Segmenter
from pysbd.lang.common.standard import Standard

QUOTES_AND_BRACKETS = frozenset("\"'”’»)]}」』）】》〉")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Always followed by a name, a number or an example: waiting for the next word would tell nothing.
_NEVER_LAST = _words(
    """mr mrs ms mx dr prof rev hon gen col maj capt cmdr lt sgt cpl sen gov rep st mt messrs mme mlle hr fr
    vs cf viz approx fig e.g i.e ca bzw evtl ggf inkl nr vgl z.b d.h u.a
    sra srta dra profa sig dott pág núm bijv dhr mevr ул"""
)
# El Sr. García, EE. UU., np. Warszawa; but "John Smith Sr. He": they end a sentence only before a usual first word.
_SELDOM_LAST = _words("sr ee np")
# Spanish, in the middle of a sentence as well as at its end; pysbd knows none of them.
_BEFORE_LOWER_CASE = _words("ud uds vd vds uu")
# Abbreviations only when capitalised (Me. is Maine): "Tell me." must not wait for the next word.
_ORDINARY_WORDS = _words("is me man may ok ill art mass miss ore wash pa la arc ark con mar sun sat")
_ABBREVIATIONS = frozenset(Standard.Abbreviation.ABBREVIATIONS) | _words("usw mon tue wed thu fri sat sun")
_SENTENCE_STARTERS = frozenset(Standard.AbbreviationReplacer.SENTENCE_STARTERS)

_AFTER_ORDINAL = _words(
    """Januar Jänner Februar März April Mai Juni Juli August September Oktober November Dezember
    Jahrhundert Jahrhunderts Klasse Stock Mal Weltkrieg Weltkriegs Geburtstag Platz"""
)
_BEFORE_ORDINAL = _words("der dem den des vom zum beim")  # not "am" and "die": English words

_LINK_CHARS = 80  # the text of a link is seldom longer; what is merely left open does not swallow the answer
_WORD_CHARS = 24  # no abbreviation is longer; keeps every look back at constant cost
_WORD_EDGE = re.compile(r"[\s(\[{\"“‘«*_~`/—–-]")
_DOTTED = re.compile(r"[^\W\d_]{1,2}(?:\.[^\W\d_]{1,2})+")
_ORDINAL = re.compile(r"\d{1,3}")
_LIST_MARKER = re.compile(r"[-*•>#\s]*(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,4})")
_REST_OF_SPACED = re.compile(r"\s*[^\W\d_]\.")
_NEXT_WORD = re.compile(r"\W*(\w+)")


class Doubt(Enum):
    """What must be read before it is known whether a stop followed by white space ends its sentence."""

    NONE = auto()  # it does
    NEVER_ENDS = auto()  # it does not
    NEXT_CHARACTER = auto()  # an ellipsis or a closing quote: lower case goes on
    NEXT_WORD = auto()  # an abbreviation, an ordinal or an initial


class Judge(Protocol):
    def __call__(self, before: str, ahead: str) -> bool | None:
        """Whether a sentence ends between the two; None when the judge cannot tell."""


def doubt_about(text: str, start: int, end: int) -> Doubt:
    """The doubt about the stop and its closing quotes at text[start:end], in a sentence that begins at text[0]."""
    if _is_in_link(text, end):
        return Doubt.NEVER_ENDS
    stop = text[start:end]
    is_quoted = not QUOTES_AND_BRACKETS.isdisjoint(stop) or text.count("«", 0, start) > text.count("»", 0, start)
    if "!" in stop or "?" in stop:
        return Doubt.NEXT_CHARACTER if is_quoted else Doubt.NONE
    if stop.count(".") != 1 or "…" in stop:
        return Doubt.NEXT_CHARACTER
    doubt = _doubt_about_word(word_before(text, start))
    if doubt is not Doubt.NEVER_ENDS and _LIST_MARKER.fullmatch(text, 0, start):
        return Doubt.NEVER_ENDS
    return Doubt.NEXT_CHARACTER if doubt is Doubt.NONE and is_quoted else doubt


def _is_in_link(text: str, end: int) -> bool:
    """The end stands in brackets: [What is it? A guide](https://example.com)."""
    near = text[max(0, end - _LINK_CHARS) : end]
    return near.rfind("[") > near.rfind("]")


def _doubt_about_word(word: str) -> Doubt:
    if not word:
        return Doubt.NEXT_CHARACTER
    lower = word.lower()
    if lower in _NEVER_LAST:
        return Doubt.NEVER_ENDS
    if lower in _BEFORE_LOWER_CASE:
        return Doubt.NEXT_CHARACTER
    if lower in _SELDOM_LAST or _ORDINAL.fullmatch(word) or _is_initial(word) or _DOTTED.fullmatch(word):
        return Doubt.NEXT_WORD
    return Doubt.NEXT_WORD if lower in _ABBREVIATIONS and word not in _ORDINARY_WORDS else Doubt.NONE


def word_before(text: str, end: int) -> str:
    """The word that ends at `end`, without opening quotes and marks; "" after white space."""
    return _WORD_EDGE.split(text[max(0, end - _WORD_CHARS) : end])[-1]


def ends_before_character(ahead: str) -> bool:
    """Whether a stop ends its sentence, by the first character after white space. `ahead` is not blank."""
    first = ahead.lstrip()[0]
    return not (first.islower() or first in ".…,;:–—»")


def ends_before_word(before: str, stop: str, ahead: str, judge: Judge) -> bool:
    """Whether the doubtful `stop` ends its sentence, by the white space and the one word in `ahead`."""
    word = word_before(before, len(before))
    if not ahead.strip():
        return True
    if _ORDINAL.fullmatch(word):
        return _number_ends(before[: len(before) - len(word)], ahead)
    following = _NEXT_WORD.match(ahead)
    is_starter = following is not None and following[1] in _SENTENCE_STARTERS
    if word.lower() in _SELDOM_LAST:
        return is_starter
    if _is_initial(word):
        if _is_spaced(word, ahead):
            return False
        if is_starter:
            return True  # "Plan B. We go": pysbd takes every single letter for a person's initial
    verdict = judge(before + stop, ahead)
    return _ends_by_rule(word, ahead) if verdict is None else verdict


def _number_ends(before: str, ahead: str) -> bool:
    following = _NEXT_WORD.match(ahead)
    if ahead.lstrip()[0].islower() or (following and following[1] in _AFTER_ORDINAL):
        return False
    words = before[-_WORD_CHARS:].split()
    return not (words and words[-1].lower() in _BEFORE_ORDINAL)


def _ends_by_rule(word: str, ahead: str) -> bool:
    if _is_initial(word) or _DOTTED.fullmatch(word):
        return ahead.strip() in _SENTENCE_STARTERS
    first = ahead.lstrip()[0]
    return not (first.islower() or first.isdigit())


def _is_spaced(letter: str, ahead: str) -> bool:
    """The stop belongs to a spaced abbreviation: that of the z in "z. B. Wasser", of the h in "d. h. immer"."""
    return letter.islower() and (ahead.lstrip()[0].islower() or _REST_OF_SPACED.match(ahead) is not None)


def _is_initial(word: str) -> bool:
    return len(word) == 1 and (word.isupper() or word.islower())


class PysbdJudge:
    """pysbd on a short window. It needs guarding: it deletes its own placeholder characters, and takes exponential time
    over "a.[1111…" (its NUMBERED_REFERENCE_REGEX)."""

    def __init__(self, window_chars: int) -> None:
        self._window_chars = window_chars
        self._segmenter = Segmenter(language="en", clean=False)

    def __call__(self, before: str, ahead: str) -> bool | None:
        start = max(before.rfind("[") + 1, len(before) - self._window_chars)
        window = before[start:].lstrip()
        text = window + ahead
        segments: list[str] = self._segmenter.segment(text)
        if "".join(segments) != text:
            return None
        boundary = len(window) + len(ahead) - len(ahead.lstrip())
        return boundary in accumulate(len(segment) for segment in segments)
