"""What it is like to listen to the answers of one stream, measured where the audio is handed to the socket.

It imagines a listener who starts with the first chunk and buffers nothing. A gap is ours only where there was something
to speak: when the text of the next sentence came after the audio had run out, the model was silent, not the server.

Pure: `now` is an argument, in seconds of one monotonic clock. The next answer may begin before the last audio of this
one was taken by the socket, so the answers form a line: text belongs to the last one, audio to the first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from voice_server.core import pcm as audio
from voice_server.core.events import AudioChunk
from voice_server.core.onset import AudibleOnset
from voice_server.core.playhead import Playhead


class Measures(Protocol):
    """Who is told. Times are seconds."""

    def queue_wait(self, seconds: float, /) -> None: ...

    def first_audio(self, seconds: float, /) -> None: ...

    def audible_onset(self, seconds: float, /) -> None: ...

    def sentence_gap(self, seconds: float, /) -> None: ...

    def answer(self, *, gap_free: bool) -> None: ...


class NoMeasures:
    """Nobody asks."""

    def queue_wait(self, seconds: float, /) -> None: ...

    def first_audio(self, seconds: float, /) -> None: ...

    def audible_onset(self, seconds: float, /) -> None: ...

    def sentence_gap(self, seconds: float, /) -> None: ...

    def answer(self, *, gap_free: bool) -> None: ...


@dataclass(slots=True)
class _Answer:
    playhead: Playhead = field(default_factory=Playhead)
    accepted_at: dict[int, float] = field(default_factory=dict)  # of sentences that were not heard yet
    began_to_render: bool = False
    heard: int = -1  # the sentence that the latest audio belongs to
    onset: AudibleOnset = field(default_factory=AudibleOnset)


class Listening:
    """Told by a stream what happens to its answers, in order."""

    def __init__(self, measures: Measures) -> None:
        self._measures = measures
        self._answers = deque([_Answer()])

    # Text: the last answer

    def accepted(self, sentence: int, now: float) -> None:
        """There is something to speak."""
        self._answers[-1].accepted_at[sentence] = now
        self._answers[-1].playhead.start(now)

    def rendering(self, sentence: int, now: float) -> None:
        """A worker took the sentence. Only the answer's first one waits in line; the others wait for their turn."""
        answer = self._answers[-1]
        if not answer.began_to_render:
            answer.began_to_render = True
            self._measures.queue_wait(now - answer.accepted_at[sentence])

    def finished(self) -> None:
        """All of the answer is on its way; what is accepted from now on belongs to the next one."""
        self._answers.append(_Answer())

    def dropped(self) -> None:
        """Nothing that is on its way will be heard. Answers stay as good or bad as they were until now."""
        for answer in self._answers:
            self._judge(answer)
        self._answers = deque(_Answer() for _ in self._answers)

    # Audio: the first answer

    def delivered(self, chunk: AudioChunk, sample_rate: int, now: float) -> None:
        """The socket took it."""
        answer = self._answers[0]
        if chunk.index in answer.accepted_at:
            self._begin_sentence(answer, chunk.index, now)
        elif chunk.index != answer.heard:
            return  # it was on its way when its answer was dropped
        answer.playhead.arrive(audio.duration_s(len(chunk.pcm), sample_rate), now)
        if answer.onset.push(chunk.pcm):
            self._tell_onset(answer, sample_rate)

    def ended(self) -> None:
        """The socket took the answer's last word."""
        self._judge(self._answers.popleft())

    # The listener

    def heard_s(self, now: float) -> float:
        """Of the answer that is being heard."""
        return self._answers[0].playhead.heard_s(now)

    def runs_out_in_s(self, now: float) -> float:
        """Of audio that was handed to the socket."""
        return self._answers[0].playhead.ahead_s(now)

    # Inside

    def _begin_sentence(self, answer: _Answer, sentence: int, now: float) -> None:
        playhead, accepted_at = answer.playhead, answer.accepted_at.pop(sentence)
        if playhead.first_at is None:
            self._measures.first_audio(now - (playhead.started_at or 0.0))
        elif accepted_at > playhead.runs_out_at:
            playhead.pardon(now)
        else:
            self._measures.sentence_gap(playhead.silence_s(now))
        answer.heard = sentence

    def _tell_onset(self, answer: _Answer, sample_rate: int) -> None:
        silence_s = (answer.onset.samples or 0) / sample_rate
        self._measures.audible_onset((answer.playhead.first_audio_s or 0.0) + silence_s)

    def _judge(self, answer: _Answer) -> None:
        """An answer of which nothing was heard was neither good nor bad."""
        if answer.playhead.chunks:
            self._measures.answer(gap_free=not answer.playhead.gaps)
