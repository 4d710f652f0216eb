"""One client's audio on its way to become text: from the client's rate to a worker's seat, and its text back.

Promises: text that was told is never taken back; exactly one last event; a worker that dies costs one more, which is
told the audio again from where the text was settled. Memory is bounded: audio beyond what the workers can bear is
dropped, and the client is told so.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from voice_server.core.audio.kept import KeptAudio
from voice_server.core.audio.pcm import Resampler, byte_count, duration_s
from voice_server.core.errors import HearingFailed, Overloaded, VoiceError
from voice_server.core.limits import Limits
from voice_server.core.report import AnswerState, HearingReport, Origin
from voice_server.core.text.hearing import (
    AudioDropped,
    HearingDone,
    HearingEvent,
    HearingProblem,
    Segment,
    TextHeard,
    joined,
)
from voice_server.logs import current
from voice_server.pool.switchboard import Seat
from voice_server.stream.recogniser import Recogniser
from voice_server.wire.messages import Failed, Text

_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class HearingSettings:
    sample_rate: int  # Hz of what the client sends, PCM s16le mono
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Piece:
    reach: int  # up to which byte of the hearing
    sent_at: float


class Hearing:
    """Begins when it is made; its recogniser must be ready. Implements switchboard.HearingSink. Raises BadOption."""

    def __init__(
        self, recogniser: Recogniser, limits: Limits, settings: HearingSettings, tell: Callable[[HearingEvent], None]
    ) -> None:
        assert recogniser.pool.ready is not None
        self._rate = recogniser.pool.ready.sample_rate
        self._recogniser = recogniser
        self._board = recogniser.pool.dispatcher
        self._loop = asyncio.get_running_loop()
        self._report = HearingReport()
        self._asked_by, self._began_at, self._finished_at = current.get(), self._loop.time(), math.inf
        self._known_at: float | None = None  # when the latest piece was sent that a text knows of
        self._worked_at = 0.0  # when this seat told of its work last
        self._left_s = 0.0  # of audio that it had at hand then
        self._limits = limits.hearing
        self._options = recogniser.validate_options(settings.options)
        self._tell = tell
        self._resampler = Resampler(settings.sample_rate, self._rate) if settings.sample_rate != self._rate else None
        self._kept = KeptAudio(self._rate, byte_count(self._limits.kept_s, self._rate))
        self._pushed_bytes = 0
        self._worked_bytes = 0  # that a worker has worked on
        self._dropped_bytes = 0
        self._sent: deque[_Piece] = deque()  # to this seat, not worked on yet
        self._acknowledged = 0  # pieces of this seat
        self._segments: list[Segment] = []
        self._last = TextHeard("", "")
        self._seat: Seat | None = None
        self._offset_s = 0.0  # of this seat's first sample
        self._attempts = 0
        self._is_finished = False
        self._is_over = False
        self._caught_up = asyncio.Event()
        self._wait_s = limits.stream.queue_wait_s
        recogniser.measures.opened()
        self._ask_for_seat()

    # The client

    def hear(self, pcm: bytes) -> None:
        """More audio: whole samples at the client's rate."""
        if not (self._is_finished or self._is_over):
            self._push(self._resampler.push(pcm) if self._resampler else pcm)

    def finish(self) -> None:
        """That was all: the text that is left comes, and then `HearingDone`."""
        if self._is_finished or self._is_over:
            return
        if self._resampler:
            self._push(self._resampler.flush())
        self._is_finished = True
        self._finished_at = self._loop.time()
        if self._seat:
            self._seat.finish()

    def close(self) -> None:
        """Nobody wants to know any more."""
        if not self._is_over:
            self._end("left")
            self._board.leave(self)

    @property
    def backlog_s(self) -> float:
        """Audio that no worker has worked on yet."""
        return duration_s(self._pushed_bytes - self._worked_bytes, self._rate)

    async def room(self) -> None:
        """Returns when so little waits to be worked on that more may come: for audio that is not live."""
        while self.backlog_s > self._limits.backlog_s / 2 and not self._is_over:
            self._caught_up.clear()
            await self._caught_up.wait()

    # The switchboard

    def on_seated(self, seat: Seat) -> None:
        self._timer.cancel()
        self._seat = seat
        if self._report.queue_wait_s is None:
            self._report.queue_wait_s = self._loop.time() - self._began_at
        self._offset_s = self._kept.begin_s
        self._worked_bytes = self._kept.begin_bytes
        self._sent.clear()
        self._acknowledged, self._left_s = 0, 0.0
        sent = self._kept.begin_bytes
        for piece in self._kept.pieces:
            sent = self._send(piece, sent)
        if self._is_finished:
            seat.finish()

    def on_refused(self, error: VoiceError) -> None:
        self._fail(error)

    def on_text(self, text: Text) -> None:
        if text.text:
            start_s, end_s = self._offset_s + text.start_s, self._offset_s + text.end_s
            self._segments.append(Segment(text.text, start_s, end_s))
            self._attempts = 1  # what this worker settled no other one hears: it is not the audio that ends workers
        self._kept.settle(self._offset_s + text.settled_s)
        self._acknowledge(text.heard)
        told = TextHeard(joined(self._segments), text.tentative.strip())
        if told != self._last:
            if self._known_at is not None:
                self._recogniser.measures.partial(self._loop.time() - self._known_at)
            self._last = told
            self._tell(told)

    def on_done(self) -> None:
        text = joined(self._segments)
        self._measure(self.backlog_s)  # an engine need not say of the last of it that it has heard it
        self._worked_bytes = self._pushed_bytes
        self._end("done")
        self._tell(HearingDone(text, tuple(self._segments), duration_s(self._pushed_bytes, self._rate)))

    def on_failed(self, failed: Failed) -> None:
        if failed.retryable:
            self.on_lost(failed.message)
        else:
            self._fail(HearingFailed("the engine cannot turn this audio into text"))

    def on_lost(self, reason: str) -> None:
        self._seat = None
        if self._attempts < _ATTEMPTS and self._kept.is_whole:
            self._ask_for_seat()
        else:
            self._fail(HearingFailed("the audio could not be turned into text, also not by a second worker"))

    # Inside

    def _ask_for_seat(self) -> None:
        self._attempts += 1
        self._report.retries = self._attempts - 1
        self._wait()
        self._board.submit(self, self._options, self._asked_by.client(), again=self._attempts > 1)

    def _wait(self) -> None:
        self._timer = self._loop.call_later(self._wait_s, self._waited_too_long)

    def _push(self, pcm: bytes) -> None:
        if self.backlog_s + duration_s(len(pcm), self._rate) > self._limits.backlog_s:
            self._dropped_bytes += len(pcm)
            self._recogniser.measures.dropped(duration_s(len(pcm), self._rate))
            self._tell(AudioDropped(duration_s(self._dropped_bytes, self._rate), self.backlog_s))
            return
        begin, self._pushed_bytes = self._pushed_bytes, self._pushed_bytes + len(pcm)
        if pcm:
            self._kept.push(pcm)
            if self._seat:
                self._send(pcm, begin)

    def _send(self, pcm: bytes, begin: int) -> int:
        """In pieces that fit into a message; returns up to which byte of the hearing they reach."""
        assert self._seat is not None
        for at in range(0, len(pcm), self._limits.piece_bytes):
            piece = pcm[at : at + self._limits.piece_bytes]
            self._seat.hear(piece)
            self._sent.append(_Piece(begin + at + len(piece), self._loop.time()))
        return begin + len(pcm)

    def _acknowledge(self, heard: int) -> None:
        before = self._worked_bytes
        while self._acknowledged < heard:
            self._acknowledged += 1
            piece = self._sent.popleft()
            self._worked_bytes, self._known_at = piece.reach, piece.sent_at
        if self._worked_bytes > before:
            self._measure(duration_s(self._worked_bytes - before, self._rate))
        self._caught_up.set()

    def _measure(self, audio_s: float) -> None:
        now, measures = self._loop.time(), self._recogniser.measures
        self._report.audio_s += audio_s
        measures.heard(audio_s)
        if self._left_s >= self._limits.busy_s:
            measures.busy(now - self._worked_at, audio_s)
        self._worked_at, self._left_s = now, self.backlog_s

    def _waited_too_long(self) -> None:
        if self._attempts > 1 and not self._board.has_workers:
            self._wait()  # its worker was the only one: the load of the next one costs no patience
        else:
            self._board.leave(self)
            self._fail(Overloaded("no worker was free to listen; try again in a few seconds"))

    def _fail(self, error: VoiceError) -> None:
        self._end("failed", error.code)
        self._tell(HearingProblem(error))

    def _end(self, state: AnswerState, code: str = "") -> None:
        self._is_over = True
        self._seat = None
        self._timer.cancel()
        self._caught_up.set()
        self._recogniser.measures.closed()
        self._tell_end(state, code)

    def _tell_end(self, state: AnswerState, code: str) -> None:
        report, asked = self._report, self._asked_by
        report.state, report.code = state, code
        report.dropped_s = duration_s(self._dropped_bytes, self._rate)
        report.chars = len(joined(self._segments))
        if state == "done" and self._is_finished:
            report.final_s = self._loop.time() - self._finished_at
            self._recogniser.measures.final(report.final_s)
        name = self._recogniser.name
        origin = Origin(name, door=asked.door(), client=asked.client(), request_id=asked.id, trace=asked.trace)
        self._recogniser.answered(origin, report)
