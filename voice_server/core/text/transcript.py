"""How far into an answer its listener is, in the client's own words: what a model may take for said after a barge-in.

Promises: the text is always the beginning of what the client said, up to the word that was being heard, with all that
stands between and is never spoken (code, emoji); it never goes back while the listener goes on; no audio, no text. The
durations of sentences are exact where they have ended, else expected from those that have; words are an estimate
(core/text/timings).
"""

from __future__ import annotations

from dataclasses import dataclass

from voice_server.core.limits import ListeningLimits
from voice_server.core.text.timings import word_times

_LIMITS = ListeningLimits()


@dataclass(frozen=True, slots=True)
class Heard:
    text: str = ""
    heard_s: float = 0.0
    delivered_s: float = 0.0  # the socket took it


@dataclass(slots=True)
class _Sentence:
    text: str
    begin: int  # offset into the answer
    delivered_s: float = 0.0
    duration_s: float | None = None  # None: it has not ended
    lead_s: float = 0.0  # of it, the pause before its words


class Transcript:
    """One answer: what was said, sentence by sentence, and what of it was delivered."""

    def __init__(self) -> None:
        self._text = ""
        self._sentences: dict[int, _Sentence] = {}

    @property
    def delivered_s(self) -> float:
        return sum(sentence.delivered_s for sentence in self._sentences.values())

    def said(self, index: int, piece: str) -> None:
        """The next piece of the client's text, white space included."""
        text = piece.strip()
        self._sentences[index] = _Sentence(text, len(self._text) + piece.find(text))
        self._text += piece

    def delivered(self, index: int, audio_s: float) -> None:
        self._sentences[index].delivered_s += audio_s

    def ended(self, index: int, duration_s: float, lead_s: float = 0.0) -> None:
        if index in self._sentences:  # else it was on its way when its answer was dropped
            self._sentences[index].duration_s = duration_s
            self._sentences[index].lead_s = lead_s

    def heard(self, heard_s: float) -> Heard:
        """After `heard_s` of the audio that was delivered."""
        end, left_s = 0, heard_s
        for sentence in self._sentences.values():
            if left_s > 0 and sentence.delivered_s:
                end = sentence.begin + self._reach(sentence, left_s)
                left_s -= sentence.delivered_s
        return Heard(self._text[:end].lstrip(), heard_s, self.delivered_s)

    def _reach(self, sentence: _Sentence, heard_s: float) -> int:
        """How many characters of a sentence belong to words that have begun."""
        duration_s = sentence.duration_s
        if duration_s is None:
            duration_s = max(sentence.delivered_s, len(sentence.text) * self._seconds_per_char)
        elif heard_s >= duration_s:
            return len(sentence.text)
        words = word_times(sentence.text, duration_s, sentence.lead_s)
        return max((word.end for word in words if word.start_s < heard_s), default=0)

    @property
    def _seconds_per_char(self) -> float:
        ended = [(each.duration_s, len(each.text)) for each in self._sentences.values() if each.duration_s]
        seconds, chars = sum(duration_s for duration_s, _ in ended), sum(chars for _, chars in ended)
        return seconds / chars if chars else _LIMITS.seconds_per_char
