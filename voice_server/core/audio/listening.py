"""What it is like to listen to the answers of one stream, measured where the audio is handed to the socket.

It imagines a listener who starts with the first chunk and buffers nothing. A gap is ours only where there was something
to speak: when the text of the next sentence came after the audio had run out, the model was silent, not the server.

Pure: `now` is an argument, in seconds of one monotonic clock. The next answer may begin before the last audio of this
one was taken by the socket, so the answers form a line: text belongs to the last one, audio to the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from voice_server.core.audio import pcm as audio
from voice_server.core.audio.onset import AudibleOnset
from voice_server.core.audio.playhead import Playhead
from voice_server.core.events import AudioChunk
from voice_server.core.limits import ListeningLimits
from voice_server.core.report import AnswerReport, AnswerState, SentenceReport
from voice_server.core.text.transcript import Heard, Transcript

_LIMITS = ListeningLimits()


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
    transcript: Transcript = field(default_factory=Transcript)
    accepted_at: dict[int, float] = field(default_factory=dict)  # of sentences that were not heard yet
    began_to_render: bool = False
    heard: int = -1  # the sentence that the latest audio belongs to
    onset: AudibleOnset = field(default_factory=AudibleOnset)
    report: AnswerReport = field(default_factory=AnswerReport)


class Listening:
    """Told by a stream what happens to its answers, in order; `report` gets each that was begun, when it has ended."""

    def __init__(self, measures: Measures, report: Callable[[AnswerReport], None] = lambda report: None) -> None:
        self._measures = measures
        self._report = report
        self._answers = deque([_Answer()])
        self._played: deque[Transcript] = deque(maxlen=_LIMITS.answers)  # delivered, but a player may have them ahead
        self._plays_until = 0.0  # one player for all answers

    # Text: the last answer

    def said(self, sentence: int, piece: str) -> None:
        """The client's own text of the next sentence, spoken or not."""
        self._answers[-1].transcript.said(sentence, piece)
        self._answers[-1].report.sentences += 1
        self._answers[-1].report.chars += len(piece)

    def accepted(self, sentence: int, now: float, chars: int = 0) -> None:
        """There is something to speak."""
        answer = self._answers[-1]
        answer.accepted_at[sentence] = now
        answer.playhead.start(now)
        if len(answer.report.details) < _LIMITS.detailed:
            answer.report.details[sentence] = SentenceReport(chars, now)

    def rendering(self, sentence: int, now: float, worker: str = "") -> None:
        """A worker took the sentence. Only the answer's first one waits in line; the others wait for their turn."""
        answer = self._answers[-1]
        if not answer.began_to_render:
            answer.began_to_render = True
            answer.report.queue_wait_s = now - answer.accepted_at[sentence]
            self._measures.queue_wait(answer.report.queue_wait_s)
        if told := answer.report.details.get(sentence):
            told.renders.append((now, worker))

    def retried(self) -> None:
        """A sentence is to be rendered once more."""
        self._answers[-1].report.retries += 1

    def rendered(self, sentence: int, now: float, code: str = "") -> None:
        """Nothing more comes of the sentence; `code` is of the error that ended it."""
        report = self._answers[-1].report
        if told := report.details.get(sentence):
            told.ended_at, told.code = now, code
        if code:
            report.failures[code] += 1
            report.code = code

    def finished(self) -> None:
        """All of the answer is on its way; what is accepted from now on belongs to the next one."""
        self._answers.append(_Answer())

    def dropped(self, now: float, state: AnswerState = "cancelled", code: str = "") -> None:
        """Nothing that is on its way will be heard. Answers stay as good or bad as they were until now."""
        for answer in self._answers:
            answer.report.code = code or answer.report.code
            self._judge(answer, state, now)
        self._answers = deque(_Answer() for _ in self._answers)
        self._plays_until = 0.0

    # Audio: the first answer

    def delivered(self, chunk: AudioChunk, sample_rate: int, now: float) -> None:
        """The socket took it."""
        answer = self._answers[0]
        if chunk.index in answer.accepted_at:
            self._begin_sentence(answer, chunk.index, now)
        elif chunk.index != answer.heard:
            return  # it was on its way when its answer was dropped
        audio_s = audio.duration_s(len(chunk.pcm), sample_rate)
        answer.playhead.arrive(audio_s, now)
        answer.transcript.delivered(chunk.index, audio_s)
        self._plays_until = max(self._plays_until, now) + audio_s
        if answer.onset.push(chunk.pcm):
            self._tell_onset(answer, sample_rate)

    def sentence_ended(self, sentence: int, duration_s: float, lead_s: float = 0.0) -> None:
        """The socket took all of it."""
        self._answers[0].transcript.ended(sentence, duration_s, lead_s)

    def ended(self, now: float) -> None:
        """The socket took the answer's last word."""
        answer = self._answers.popleft()
        self._judge(answer, "done", now)
        self._played.append(answer.transcript)

    # The listener

    def heard_s(self, now: float) -> float:
        """Of the answer that is being heard."""
        return self._answers[0].playhead.heard_s(now)

    def heard(self, now: float) -> Heard:
        """What a barge-in cuts: of the answer that is being heard, as far as it is. Nothing of one that was over."""
        ahead_s = max(0.0, self._plays_until - now)
        current = self._answers[0].transcript
        for transcript in [current, *reversed(self._played)]:
            if ahead_s <= transcript.delivered_s > 0:
                is_over = ahead_s == 0 and transcript is not current
                return Heard() if is_over else transcript.heard(transcript.delivered_s - ahead_s)
            ahead_s -= transcript.delivered_s
        return Heard()

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
        if told := answer.report.details.get(sentence):
            told.first_audio_at = now

    def _tell_onset(self, answer: _Answer, sample_rate: int) -> None:
        silence_s = (answer.onset.samples or 0) / sample_rate
        answer.report.onset_s = (answer.playhead.first_audio_s or 0.0) + silence_s
        self._measures.audible_onset(answer.report.onset_s)

    def _judge(self, answer: _Answer, state: AnswerState, now: float) -> None:
        """An answer of which nothing was heard was neither good nor bad."""
        if answer.playhead.chunks:
            self._measures.answer(gap_free=not answer.playhead.gaps)
        if answer.report.sentences:
            self._report(_completed(answer, state, now))


def _completed(answer: _Answer, state: AnswerState, now: float) -> AnswerReport:
    report, playhead = answer.report, answer.playhead
    report.state, report.ended_at = state, now
    report.began_at = now if playhead.started_at is None else playhead.started_at
    report.first_audio_s, report.audio_s = playhead.first_audio_s, playhead.received_s
    report.gaps, report.gap_s = len(playhead.gaps), sum(playhead.gaps)
    return report
