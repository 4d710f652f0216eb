"""When each word of a sentence is heard: an estimate inside a sentence whose duration is known exactly.

Engines do not tell, so time is shared out by what takes time when people speak: syllables, the words that digits and
symbols are read as, and pauses at clause marks. Times refer to the client's own text: what is not spoken of it
(Markdown, an emoji, the path of a URL) has its place and no length. Promises: words come in order and do not overlap,
the first one begins at 0 and the last one ends with the sentence; `text[begin:end]` is the word, and only white space
lies between two words; characters follow one another without a hole.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate, chain, pairwise, zip_longest

from voice_server.core.text.speakable import speakable
from voice_server.core.text.tags import understood_only

# In syllables, which take about the same time in every word; fitted to sentences of hibari: docs/stream-tokens.md
_CLAUSE_PAUSE = 2.0
_SENTENCE_PAUSE = 3.0
_LETTER = 0.15  # what a letter adds to its syllable: "strengths" takes longer than "a"
_DIGIT = 1.6  # 1984, 3.14 and 1,000,000 are read as about one word a digit
_SYMBOL = 2.0  # percent, dollars, plus, equals, degrees
_OTHER_LETTER = 0.45  # of scripts that leave vowels out or pile them up

_ALIGNED_WORDS = 400  # no sentence has more; finding out which words were spoken takes quadratic time

_NO_SPACES = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana and ideographs
_OPENING = "「『（《〈【“‘(\\["
_WORD = re.compile(
    rf"[{_OPENING}]*[{_NO_SPACES}][^\w\s{_OPENING}]*"  # each is a word of its own, with the marks around it
    rf"|(?:(?![{_NO_SPACES}])\S)+"
)
_CLAUSE_END = re.compile(r"[,;:،؛—、，；：၊…]\W*$")
_SENTENCE_END = re.compile(r"[.!?。！？｡؟۔।॥။។]\W*$")
_VOWELS = re.compile(r"[aeiouyæøœıаеиоуыэюяёіїєαεηιουωάέήίόύώ]+")
_SILENT_E = re.compile(r"[^aeiouyl]es?$")
_SPOKEN_SYMBOL = re.compile(r"[%$€£¥&+=@#°]")


@dataclass(frozen=True, slots=True)
class WordTime:
    word: str
    start_s: float  # from the start of the sentence
    end_s: float
    begin: int  # offset into the text, in characters
    end: int


def word_times(text: str, duration_s: float, lead_s: float = 0.0) -> list[WordTime]:
    """The words of a sentence, and when each of them is heard; `lead_s` of its duration is a pause before them."""
    places = list(_WORD.finditer(text))
    if not places:
        return []
    spans = _spans([place[0] for place in places], text, duration_s - lead_s)
    return [
        WordTime(place[0], lead_s + start_s, lead_s + end_s, *place.span())
        for place, (start_s, end_s) in zip(places, spans, strict=True)
    ]


def char_times(text: str, duration_s: float, lead_s: float = 0.0) -> list[tuple[float, float]]:
    """Of each character of the text, when it begins and how long it lasts: an even share of its word, or of a pause."""
    return [
        (start_s, end_s - start_s)
        for span_start_s, span_end_s, count in _stretches(text, duration_s, lead_s)
        for start_s, end_s in pairwise(_even(span_start_s, span_end_s, count))
    ]


def _stretches(text: str, duration_s: float, lead_s: float) -> Iterator[tuple[float, float, int]]:
    """The text as words and gaps: when each begins and ends, and its number of characters."""
    words = word_times(text, duration_s, lead_s)
    place, now_s = 0, 0.0
    for word, following in zip_longest(words, words[1:]):
        yield now_s, word.start_s, word.begin - place
        is_joined = following is not None and following.begin == word.end  # its pause has no character of its own
        place, now_s = word.end, following.start_s if is_joined else word.end_s
        yield word.start_s, now_s, word.end - word.begin
    yield now_s, duration_s, len(text) - place


def _even(start_s: float, end_s: float, count: int) -> list[float]:
    """`count` equal steps; the last one ends at `end_s` to the bit."""
    if not count:
        return []
    return [*(start_s + (end_s - start_s) * step / count for step in range(count)), end_s]


def _spans(words: list[str], text: str, duration_s: float) -> Iterator[tuple[float, float]]:
    weights = _weights(words, text)
    if not any(weights):
        weights = [1.0] * len(words)
    last = max(index for index, weight in enumerate(weights) if weight)
    pauses = [
        _pause(word) if weight and index < last else 0.0
        for index, (word, weight) in enumerate(zip(words, weights, strict=True))
    ]
    edges = [0.0, *accumulate(chain.from_iterable(zip(weights, pauses, strict=True)))]
    for start, end in zip(edges[::2], edges[1::2], strict=False):
        yield _share(start, edges[-1], duration_s), _share(end, edges[-1], duration_s)


def _share(done: float, total: float, duration_s: float) -> float:
    return duration_s if done >= total else duration_s * done / total


def _pause(word: str) -> float:
    if _CLAUSE_END.search(word):
        return _CLAUSE_PAUSE
    return _SENTENCE_PAUSE if _SENTENCE_END.search(word) else 0.0


# From what is spoken to the client's own words


def _weights(words: list[str], text: str) -> list[float]:
    """How long each of the client's words takes, where the engine is given other words for some of them."""
    spoken = _WORD.findall(understood_only(speakable(text))[0])  # who laughs says no word
    keys, spoken_keys = [*map(_key, words)], [*map(_key, spoken)]
    if keys == spoken_keys:
        return [*map(_syllables, spoken)]
    if len(keys) > _ALIGNED_WORDS:
        return _shared_out(sum(map(_syllables, spoken)), words)
    weights = [0.0] * len(words)
    match = SequenceMatcher(None, keys, spoken_keys, autojunk=False)
    for kind, begin, end, spoken_begin, spoken_end in match.get_opcodes():
        loads = [_syllables(word) for word in spoken[spoken_begin:spoken_end]]
        if kind == "equal":
            weights[begin:end] = loads
        elif begin < end:
            weights[begin:end] = _shared_out(sum(loads), words[begin:end])
        else:  # said, but not written: with the word before it
            weights[max(0, begin - 1)] += sum(loads)
    return weights


def _key(word: str) -> str:
    return "".join(filter(str.isalnum, word)).casefold()


def _shared_out(load: float, words: list[str]) -> list[float]:
    """What is spoken in the place of some words, by what each of them would take alone."""
    shares = [_syllables(speakable(word)) for word in words]
    total = sum(shares)
    if not total:
        shares, total = [1.0] * len(words), float(len(words))
    return [load * share / total for share in shares]


def _syllables(word: str) -> float:
    letters = [character for character in word if character.isalpha()]
    digits = sum(map(str.isdigit, word))
    symbols = len(_SPOKEN_SYMBOL.findall(word)) if letters or digits else 0
    return _of_letters(letters) + _DIGIT * digits + _SYMBOL * symbols


def _of_letters(letters: list[str]) -> float:
    plain = unicodedata.normalize("NFD", "".join(letters).casefold())
    groups = len(_VOWELS.findall(plain))
    if groups > 1 and _SILENT_E.search(plain):
        groups -= 1
    if groups:
        return groups + _LETTER * len(letters)
    if all(map(_is_syllable, letters)):
        return float(len(letters))
    return len(letters) * (1.0 if all(map(str.isupper, letters)) else _OTHER_LETTER)


def _is_syllable(letter: str) -> bool:
    """Ideographs, kana and Hangul are a syllable each."""
    return letter >= "\u3040" and unicodedata.category(letter) == "Lo"
