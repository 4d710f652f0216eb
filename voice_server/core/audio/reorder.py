"""Chunks of many sentences in, head-of-line events out: never twice, never out of order.

Sentences render side by side, listeners hear one after the other. The buffer owns how many bytes of each sentence have
been released — they cannot be unsent — so it alone can say what a second rendering of a half-heard sentence must leave
out, and what was heard before a sentence, so that a pause goes between two of them. It does not know why a sentence
starts over, nor who renders it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from voice_server.core.audio import pcm as audio
from voice_server.core.errors import VoiceError
from voice_server.core.events import AudioChunk, Event, Problem, SentenceEnded, SentenceResumed, SentenceStarted


@dataclass(slots=True)
class _Sentence:
    text: str
    chunks: deque[bytes] = field(default_factory=deque)
    released_bytes: int = 0  # of its rendering
    pause_bytes: int = 0  # released before them
    skip_bytes: int = 0  # of a second rendering: the listener has them
    seam: SentenceResumed | None = None  # to be told before the first byte behind the seam
    closed: bool = False
    truncated: bool = False
    problem: VoiceError | None = None


class ReorderBuffer:
    """Every method returns the events that its news releases; `index` counts up from 0 in the order of `open`.

    `pause_s` of silence come before the first audio of each sentence but the first that is heard. `whole`: nothing of a
    sentence is released before its end, so that all of it can be rendered again; for files, which nobody hears yet.
    """

    def __init__(self, sample_rate: int, fade_s: float, pause_s: float = 0.0, *, whole: bool = False) -> None:
        self._sample_rate = sample_rate
        self._fade_s = fade_s
        self._pause = bytes(audio.byte_count(pause_s, sample_rate))
        self._whole = whole
        self._was_heard = False  # some sentence of the answer
        self._has_failed = False  # some sentence of the answer
        self._sentences: dict[int, _Sentence] = {}
        self._next = 0
        self._head = 0
        self._held_bytes = 0
        self._ended_bytes = 0  # of all sentences that have ended, as they were released

    @property
    def held_bytes(self) -> int:
        """Audio that waits behind the head."""
        return self._held_bytes

    @property
    def is_empty(self) -> bool:
        return self._head == self._next

    @property
    def has_begun(self) -> bool:
        """There was a sentence."""
        return self._next > 0

    @property
    def is_mute(self) -> bool:
        """There were sentences and not one of them was heard, nor is there an error that says why."""
        return self.has_begun and not self._was_heard and not self._has_failed

    def has_released(self, index: int) -> bool:
        """Some of its audio cannot be unsent."""
        return self._sentences[index].released_bytes > 0

    def open(self, text: str) -> int:
        """A new last sentence; returns its index."""
        self._sentences[self._next] = _Sentence(text)
        self._next += 1
        return self._next - 1

    def push(self, index: int, pcm: bytes) -> list[Event]:
        sentence = self._sentences[index]
        if sentence.skip_bytes:
            skipped = min(sentence.skip_bytes, len(pcm))
            sentence.skip_bytes -= skipped
            pcm = pcm[skipped:]
        if not pcm:
            return []
        if sentence.seam and not sentence.seam.exact:
            pcm = audio.fade_in(pcm, self._sample_rate, self._fade_s)
        sentence.chunks.append(pcm)
        self._held_bytes += len(pcm)
        return self._release()

    def close(self, index: int, *, truncated: bool = False) -> list[Event]:
        """The sentence's audio is complete, or as complete as the engine would make it (`truncated`)."""
        self._sentences[index].closed = True
        self._sentences[index].truncated = truncated
        return self._release()

    def fail(self, index: int, error: VoiceError) -> list[Event]:
        """The sentence gets no more audio. What it has is still heard."""
        self._sentences[index].problem = error
        self._has_failed = True
        return self.close(index)

    def reject(self, index: int, error: VoiceError) -> list[Event]:
        """What the sentence has is not fit to be heard, as far as that can still be helped."""
        self._forget(self._sentences[index])
        return self.fail(index, error)

    def restart(self, index: int, *, exact: bool) -> bool:
        """Its render died and another one starts from the beginning. True when the listener has heard a part of it."""
        sentence = self._sentences[index]
        self._forget(sentence)
        sentence.skip_bytes = sentence.released_bytes
        heard = sentence.released_bytes > 0
        sentence.seam = SentenceResumed(index, exact) if heard else None
        return heard

    def _forget(self, sentence: _Sentence) -> None:
        self._held_bytes -= sum(map(len, sentence.chunks))
        sentence.chunks.clear()

    def _release(self) -> list[Event]:
        events: list[Event] = []
        while sentence := self._sentences.get(self._head):
            self._release_audio(sentence, events)
            if not sentence.closed:
                break
            self._end(sentence, events)
        return events

    def _release_audio(self, sentence: _Sentence, events: list[Event]) -> None:
        if not sentence.chunks or (self._whole and not sentence.closed):
            return
        if not sentence.released_bytes:
            self._start(sentence, events)
        if sentence.seam:
            events.append(sentence.seam)
            sentence.seam = None
        for pcm in sentence.chunks:
            events.append(AudioChunk(self._head, pcm))
            sentence.released_bytes += len(pcm)
            self._held_bytes -= len(pcm)
        sentence.chunks.clear()

    def _start(self, sentence: _Sentence, events: list[Event]) -> None:
        events.append(
            SentenceStarted(self._head, sentence.text, audio.duration_s(self._ended_bytes, self._sample_rate))
        )
        if self._was_heard and self._pause:
            events.append(AudioChunk(self._head, self._pause))
            sentence.pause_bytes = len(self._pause)
        self._was_heard = True

    def _end(self, sentence: _Sentence, events: list[Event]) -> None:
        if sentence.released_bytes:
            size = sentence.pause_bytes + sentence.released_bytes
            duration_s = audio.duration_s(size, self._sample_rate)
            self._ended_bytes += size
            lead_s = audio.duration_s(sentence.pause_bytes, self._sample_rate)
            events.append(SentenceEnded(self._head, duration_s, sentence.truncated, lead_s))
        if sentence.problem:
            events.append(Problem(sentence.problem, self._head))
        del self._sentences[self._head]
        self._head += 1
