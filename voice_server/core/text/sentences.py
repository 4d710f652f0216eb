"""Cuts the text of an answer into sentences while it arrives.

Promises, for every way of cutting the text into tokens:
- the sentences are the same: each decision looks at a prefix of the text, never at where a token ended;
- joined they are the text, but for white space after its last sentence;
- none is white space only, and none is longer than the hard limit (white space around it not counted);
- time is linear in the text, whatever it holds.
Only `idle` and `take_clause` depend on when they are called, and only the caller knows why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto

from voice_server.core.limits import TextLimits
from voice_server.core.text.abbreviations import (
    QUOTES_AND_BRACKETS,
    Doubt,
    PysbdJudge,
    doubt_about,
    ends_before_character,
    ends_before_word,
)
from voice_server.core.text.length_cut import clause_cut, length_cut

_DEFAULTS = TextLimits()

_WIDE_STOPS = "。！？｡؟۔।॥။។"  # of scripts that may put no white space after a sentence
_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff\u200d\ufe0f\u20e3\u0300-\u036f"
_BOUNDARY = re.compile(
    rf"\n|(?:(?!។ល)[.!?…{_WIDE_STOPS}])+"  # ។ល។ is Khmer for "etc."
    rf"[{re.escape(''.join(sorted(QUOTES_AND_BRACKETS)))}*_~`{_EMOJI}]*"
)
_WIDE = frozenset(_WIDE_STOPS)
_AFTER_WIDE_QUOTE = frozenset("とっのはを、，,；：")  # 「…。」と言った: the sentence around the quote goes on
_KANA_OR_IDEOGRAPH = re.compile(r"[\u3005\u3040-\u30ff\u3400-\u9fff]")
_ONE_WORD = re.compile(r"\s+\S+\s")
_REST_OF_LINE = re.compile(r"[^\S\n]*\n")
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+")  # a Chinese or Japanese character counts as a word
_SHORT_WORDS = 3


class _Verdict(Enum):
    ENDS = auto()
    GOES_ON = auto()
    UNDECIDED = auto()


class SentenceSplitter:
    """The open sentence of one answer. Not safe for use from several threads."""

    def __init__(self, limits: TextLimits = _DEFAULTS) -> None:
        self._limits = limits
        self._pysbd = PysbdJudge(limits.judge_chars)
        self._clear()

    def _clear(self) -> None:
        self._blank: list[str] = []  # white space before the open sentence, apart so that it costs nothing to skip
        self._open = ""  # begins with its first visible character
        self._decided = 0  # no boundary is left in self._open[:self._decided]
        self._emitted_chars = 0
        self._judgements = 0

    def push(self, text: str) -> list[str]:
        """Take text; return the sentences that it completed."""
        sentences: list[str] = []
        step = self._limits.sentence_hard_chars  # keeps the open sentence, which every cut copies, short
        for start in range(0, len(text), step):
            self._append(text[start : start + step])
            sentences += self._cuts(is_last=False)
        return sentences

    def idle(self) -> list[str]:
        """The model stalled: doubtful ends are taken for true ones."""
        return list(self._cuts(is_last=True))

    def take_clause(self) -> str:
        """The first clause of the open sentence, if it is long enough to be spoken ahead of the rest; else ""."""
        cut = clause_cut(self._open[: self._decided], self._limits)
        return self._cut_off(cut) if cut else ""

    def flush(self) -> list[str]:
        """Return everything left, also an unfinished sentence; the splitter is as new afterwards."""
        sentences = list(self._cuts(is_last=True))
        rest = self.pending
        if self._open:
            sentences.append(rest)
        elif sentences:
            sentences[-1] += rest
        self._clear()
        return sentences

    @property
    def pending(self) -> str:
        """The text that is not part of any sentence yet."""
        return "".join(self._blank) + self._open

    @property
    def is_doubtful(self) -> bool:
        """Whether `idle` would be worth calling: a possible sentence end waits for what follows it."""
        match = _BOUNDARY.search(self._open, self._decided)
        return match is not None and not self._never_ends(match)

    def _append(self, text: str) -> None:
        if not self._open:
            visible = text.lstrip()
            self._blank.append(text[: len(text) - len(visible)])
            text = visible
        self._open += text

    def _cuts(self, is_last: bool) -> Iterator[str]:
        while cut := self._next_cut(is_last):
            yield self._cut_off(cut)

    def _cut_off(self, cut: int) -> str:
        sentence = "".join(self._blank) + self._open[:cut]
        rest = self._open[cut:]
        self._emitted_chars += cut
        self._blank, self._open, self._decided = [], "", 0
        self._append(rest)
        return sentence

    def _next_cut(self, is_last: bool) -> int:
        """Where the open sentence ends, 0 when that is not known yet.

        What has been read beyond a cut forced by length is hidden from the search for a true end: had it come
        character by character, it would not have been there.
        """
        forced = length_cut(self._open, self._limits)
        seen = forced.seen if forced else len(self._open)
        return self._true_end(seen, is_last) or (forced.at if forced else 0)

    def _true_end(self, seen: int, is_last: bool) -> int:
        while match := _BOUNDARY.search(self._open, self._decided, seen):
            verdict = self._verdict(match, seen, is_last)
            if verdict is _Verdict.ENDS:
                has_space = match[0] != "\n" and self._open[match.end() : min(match.end() + 1, seen)].isspace()
                return match.end() + has_space
            if verdict is _Verdict.UNDECIDED:
                return 0
            self._decided = match.end()
        self._decided = seen
        return 0

    def _verdict(self, match: re.Match[str], seen: int, is_last: bool) -> _Verdict:
        if match[0] == "\n":
            return _Verdict.ENDS
        end = match.end()
        ahead = self._open[end : min(seen, end + self._limits.lookahead_chars)]
        if not ahead:  # the stop may be the first of "..." or that of "3.14"
            return _ends_if(not self._never_ends(match)) if is_last else _Verdict.UNDECIDED
        if _is_wide(match, ahead[0]):
            return _ends_if(match[0][-1] not in QUOTES_AND_BRACKETS or ahead[0] not in _AFTER_WIDE_QUOTE)
        if not ahead[0].isspace():
            return _Verdict.GOES_ON
        return self._verdict_before_space(match, ahead, is_last or len(ahead) == self._limits.lookahead_chars)

    def _verdict_before_space(self, match: re.Match[str], ahead: str, is_all: bool) -> _Verdict:
        """`is_all`: no more look-ahead is to be had."""
        doubt = doubt_about(self._open, match.start(), match.end())
        if doubt is Doubt.NEVER_ENDS:
            return _Verdict.GOES_ON
        if doubt is Doubt.NONE or _REST_OF_LINE.match(ahead):
            return _Verdict.ENDS
        if doubt is Doubt.NEXT_CHARACTER:
            return _verdict_by_character(ahead, is_all)
        word = _ONE_WORD.match(ahead)
        if not word and not is_all:
            return _Verdict.UNDECIDED
        before = self._open[: match.start()]
        return _ends_if(ends_before_word(before, match[0], word[0] if word else ahead, self._ask_pysbd))

    def _never_ends(self, match: re.Match[str]) -> bool:
        return doubt_about(self._open, match.start(), match.end()) is Doubt.NEVER_ENDS

    def _ask_pysbd(self, before: str, ahead: str) -> bool | None:
        if self._judgements * self._limits.judge_every_chars > self._emitted_chars + len(before):
            return None
        self._judgements += 1
        return self._pysbd(before, ahead)


def _is_wide(match: re.Match[str], following: str) -> bool:
    """An ASCII mark may be meant for a wide one: 你好!我是小明. But it is part of the name in Yahoo!ニュース."""
    before = match.string[match.start() - 1 : match.start()]
    is_among_wide = _KANA_OR_IDEOGRAPH.match(before) and _KANA_OR_IDEOGRAPH.match(following)
    return not _WIDE.isdisjoint(match[0]) or (match[0][0] in "!?" and is_among_wide is not None)


def _verdict_by_character(ahead: str, is_all: bool) -> _Verdict:
    if ahead.isspace():
        return _Verdict.ENDS if is_all else _Verdict.UNDECIDED
    return _ends_if(ends_before_character(ahead))


def _ends_if(ends: bool) -> _Verdict:
    return _Verdict.ENDS if ends else _Verdict.GOES_ON


def join_short(sentences: list[str], first: bool, limits: TextLimits = _DEFAULTS) -> list[str]:
    """Join sentences under three words to the next one of the list: alone they sound clipped.

    The first sentence of an answer (`first`) is never delayed by joining. No joined sentence exceeds the hard limit.
    """
    joined = sentences[:1] if first else []
    can_join = False
    for sentence in sentences[len(joined) :]:
        if can_join and len(joined[-1]) + len(sentence) <= limits.sentence_hard_chars:
            joined[-1] += sentence
        else:
            joined.append(sentence)
        can_join = len(_WORD.findall(joined[-1])) < _SHORT_WORDS
    return joined


def split_clause(sentence: str, limits: TextLimits = _DEFAULTS) -> list[str]:
    """A sentence as its first clause and the rest, where both are long enough to be spoken alone."""
    cut = clause_cut(sentence, limits)
    is_worth_it = cut and len(sentence[cut:].strip()) >= limits.eager_clause_chars
    return [sentence[:cut], sentence[cut:]] if is_worth_it else [sentence]
