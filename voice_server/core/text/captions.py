"""Subtitles of what was spoken: SubRip or WebVTT, of at most two lines, from the true times of sentences.

Promises: no cue spans two sentences, cues do not overlap, and the text is the client's own. Inside a sentence words are
timed by the estimate of core/text/timings.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from voice_server.core.doors.limits import CaptionLimits
from voice_server.core.events import Event, SentenceEnded, SentenceStarted
from voice_server.core.text.timings import WordTime, word_times

_LIMITS = CaptionLimits()
MEDIA_TYPES = {"srt": "application/x-subrip", "vtt": "text/vtt"}


@dataclass(frozen=True, slots=True)
class Cue:
    start_s: float
    end_s: float
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A line of a cue, and when it is spoken."""

    text: str
    start_s: float
    end_s: float


def cues(events: Iterable[Event]) -> list[Cue]:
    """Of an answer's events, in order."""
    found: list[Cue] = []
    text, now_s = "", 0.0
    for event in events:
        if isinstance(event, SentenceStarted):
            text = event.text
        elif isinstance(event, SentenceEnded):
            found += sentence_cues(text, now_s, event.duration_s, event.lead_s)
            now_s += event.duration_s
    return found


def sentence_cues(text: str, start_s: float, duration_s: float, lead_s: float = 0.0) -> list[Cue]:
    """Of a sentence that begins at `start_s`."""
    lines = _even_lines(text, word_times(text, duration_s, lead_s))
    groups = [lines[at : at + _LIMITS.lines] for at in range(0, len(lines), _LIMITS.lines)]
    return [
        Cue(start_s + group[0].start_s, start_s + group[-1].end_s, tuple(line.text for line in group))
        for group in groups
        if group[0].start_s < group[-1].end_s  # else nothing of it is spoken: a long URL
    ]


def render(found: Sequence[Cue], form: Literal["srt", "vtt"]) -> str:
    blocks = [_srt(number, cue) if form == "srt" else _vtt(cue) for number, cue in enumerate(found, 1)]
    return "".join([*(["WEBVTT\n\n"] if form == "vtt" else []), *blocks])


def _srt(number: int, cue: Cue) -> str:
    return f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n" + "\n".join(cue.lines) + "\n\n"


def _vtt(cue: Cue) -> str:
    """The text of a cue is markup, and must not hold an arrow (W3C WebVTT 6.2)."""
    lines = (escape(line, quote=False) for line in cue.lines)
    return f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n" + "\n".join(lines) + "\n\n"


def _clock(seconds: float, mark: str) -> str:
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{mark}{ms % 1000:03}"


# Lines


def _even_lines(text: str, words: Sequence[WordTime]) -> list[_Piece]:
    """As few lines as can be, and then as even as can be: no word is left alone at the end."""
    fewest = _lines(text, words, _LIMITS.line_chars)
    narrowest = sum(_columns(word.word) for word in words) // max(1, len(fewest))
    narrower = (_lines(text, words, width) for width in range(narrowest, _LIMITS.line_chars))
    return next((lines for lines in narrower if len(lines) == len(fewest)), fewest)


def _lines(text: str, words: Sequence[WordTime], width: int) -> list[_Piece]:
    """Each line takes as many words as fit, and at least one."""
    lines: list[list[WordTime]] = []
    for word in words:
        if lines and _columns(_said(text, [*lines[-1], word])) <= width:
            lines[-1].append(word)
        else:
            lines.append([word])
    return [_Piece(_said(text, line), line[0].start_s, line[-1].end_s) for line in lines]


def _said(text: str, words: Sequence[WordTime]) -> str:
    return " ".join(text[words[0].begin : words[-1].end].split())


def _columns(text: str) -> int:
    """As a player shows it: an ideograph is as wide as two letters."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
