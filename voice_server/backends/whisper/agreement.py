"""Which words of an utterance that still goes on are certain: those that two readings in a row agree on.

A reading of unfinished speech is wrong most often at its end, where a word may be cut in two, and what it says there
changes with the next second of sound. Promises: what is certain only grows, and times never run backwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import takewhile
from typing import List, Sequence, Tuple

_SENTENCE_ENDS = ".?!。？！…"
_AFTER_AN_END = "\"'”’)]」』"
_PUNCTUATION = ".,;:?!…—-\"'“”‘’()[]。、，；：？！「」『』"


@dataclass(frozen=True)
class Word:
    text: str  # with the space that belongs before it, and its punctuation
    tokens: Tuple[int, ...]
    start_s: float  # in the utterance
    end_s: float


class Agreement:
    """Told the readings of one utterance in order; each one begins after the words that were certain already."""

    def __init__(self) -> None:
        self.certain: List[Word] = []
        self.open: List[Word] = []  # of the last reading, what is not certain

    @property
    def tokens(self) -> List[int]:
        return [token for word in self.certain for token in word.tokens]

    def read(self, words: Sequence[Word]) -> List[Word]:
        """What became certain. Never a reading's last word: more of it may be to come."""
        agreed = min(_alike(self.open, words), max(0, len(words) - 1))
        return self._settle(words, agreed)

    def finish(self, words: Sequence[Word]) -> List[Word]:
        """The last reading: all of it is certain."""
        return self._settle(words, len(words))

    def _settle(self, words: Sequence[Word], count: int) -> List[Word]:
        placed: List[Word] = []
        for word in words:
            before = placed or self.certain
            placed.append(_not_before(word, before[-1].end_s if before else 0.0))
        self.certain += placed[:count]
        self.open = placed[count:]
        return placed[:count]


def _not_before(word: Word, floor_s: float) -> Word:
    """A later reading may place its words a little earlier than the one before placed those that are certain, and one
    reading may let a word begin by a rounding error before the last one ends."""
    start_s = max(word.start_s, floor_s)
    return replace(word, start_s=start_s, end_s=max(word.end_s, start_s))


def _alike(one: Sequence[Word], other: Sequence[Word]) -> int:
    """How many words they begin with alike. Where a sentence ends is heard late: punctuation does not count."""
    alike = map(lambda word, same: _plain(word) == _plain(same), one, other)
    return sum(1 for _ in takewhile(bool, alike))


def _plain(word: Word) -> str:
    return word.text.strip().strip(_PUNCTUATION).lower()


def sentences(words: Sequence[Word]) -> List[List[Word]]:
    """Cut behind each word that ends a sentence."""
    cut: List[List[Word]] = [[]]
    for word in words:
        cut[-1].append(word)
        if word.text.rstrip(_AFTER_AN_END).endswith(tuple(_SENTENCE_ENDS)):
            cut.append([])
    return [sentence for sentence in cut if sentence]


def text_of(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words)
