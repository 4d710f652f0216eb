"""One client's conversation with one backend: text in, ordered events out, answer after answer.

Synchronous and driven by its door on one side and by the dispatcher on the other; it owns no task and no socket. Every
answer ends with exactly one `AnswerDone`, `AnswerCancelled` or an error that closes the stream. Client errors are
raised to the door, which reports them; they leave the answer as it was.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from voice_server.core.audio import pcm as audio
from voice_server.core.audio.listening import Listening, NoMeasures
from voice_server.core.audio.reorder import ReorderBuffer
from voice_server.core.budget import Allowance
from voice_server.core.errors import BadAudio, BadMessage, EmptyText, Overloaded, Poisoned, TextTooLong, VoiceError
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    FormatChanged,
    Problem,
    ResumeOffer,
    SentenceAccepted,
    SentenceEnded,
    SentenceRendering,
    StreamReady,
)
from voice_server.core.limits import Limits
from voice_server.core.report import AnswerReport, AnswerState, Origin
from voice_server.core.text.speakable import Speakable
from voice_server.core.text.tags import understood_only
from voice_server.logs import current
from voice_server.pool.dispatcher import RenderRequest
from voice_server.stream.backend import Backend
from voice_server.stream.cutter import Cutter
from voice_server.stream.later import Later, Mark
from voice_server.stream.outbox import Outbox
from voice_server.stream.patience import Patience
from voice_server.stream.sentence import Sentence
from voice_server.stream.speaker import Speaker


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What a door decides for a stream."""

    live: bool = True  # somebody listens while it renders; False: a whole file is wanted
    sample_rate: int = 0  # Hz; 0 is the gateway's default
    speakable: bool = True  # turn Markdown, URLs and emoji into something an engine can say
    client: str = ""  # who opened it: its streams stand behind each other in line, and share a budget


class Stream:
    """Implements SentenceOwner."""

    def __init__(self, backend: Backend, outbox: Outbox, limits: Limits, settings: StreamSettings) -> None:
        self.sample_rate = settings.sample_rate or limits.stream.sample_rate
        self._backend = backend
        self._dispatcher = backend.pool.dispatcher
        self._outbox = outbox
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._id = self._dispatcher.open_stream(live=settings.live, client=settings.client)
        self._speaker = Speaker(backend)
        self._allowance = Allowance(backend.budgets, settings.client)
        wait_s = limits.stream.queue_wait_s if settings.live else limits.stream.file_wait_s
        self._patience = Patience(self._dispatcher, self._id, limits.stream, wait_s, self._emit, self._give_up)
        self._later = Later(limits.text)  # said after `finish`, for the next answer
        self._cutter = Cutter(limits.text, self._submit, lambda: not self._sentences, self._may_hurry)
        self._poisonous = 0
        self._given_up = False
        self._asked_by = current.get()
        outbox.on_delivered = self._on_delivered
        self.listening = Listening(backend.measures if settings.live else NoMeasures(), self._report)
        backend.streams[self._id] = self
        self._new_answer()

    def _new_answer(self) -> None:
        pause_s = self._backend.config.pause_s if self.trims_silence else 0.0
        fade_s, whole = self._limits.stream.retry_fade_s, not self._settings.live
        self._reorder = ReorderBuffer(self.sample_rate, fade_s, pause_s, whole=whole)
        self._speakable = Speakable()
        self._cutter.clear()
        self._sentences: dict[int, Sentence] = {}  # not ended yet
        self._chars = 0
        self._waiting_chars = 0  # of sentences that have not ended
        self._finishing = False
        self._allowance.end()
        self._speaker.begin_answer()

    # What the door says

    @property
    def is_busy(self) -> bool:
        """An answer has begun and is not complete."""
        return self._chars > 0 or self._finishing or bool(self._later)

    @property
    def is_speaking(self) -> bool:
        """Something that was said to it has not been heard yet."""
        return not self._reorder.is_empty or self._outbox.waiting_bytes > 0

    @property
    def unspoken_chars(self) -> int:
        """Of the text that was pushed, what is not rendered yet."""
        return self._waiting_chars + len(self._cutter.pending)

    @property
    def voice(self) -> str:
        return self._backend.voice_name(self._speaker.voice)

    def greet(self) -> None:
        self._emit(self.greeting())

    def greeting(self, resume: ResumeOffer | None = None) -> StreamReady:
        return StreamReady(self._backend.name, self._speaker.voice, self.sample_rate, resume)

    def set_voice(self, name: str) -> None:
        self._speaker.set_voice(name)

    def set_options(self, values: dict[str, Any]) -> None:
        self._speaker.set_options(values)

    def set_sample_rate(self, sample_rate: int | None) -> None:
        """None is the backend's own. Between answers only."""
        if sample_rate is None and self._backend.sample_rate is None:
            raise BadMessage("the backend has not said its rate yet: name a number", field="sample_rate")
        if self.is_busy:
            raise BadMessage("the sample rate can change between answers only", field="sample_rate")
        self.sample_rate = sample_rate or self._backend.sample_rate or self.sample_rate
        self._new_answer()
        self._emit(FormatChanged(self.sample_rate))

    def push(self, text: str) -> None:
        """Append tokens to the answer. Raises TextTooLong and RateLimited; the text was not taken then."""
        check, take = (self._later.check, self._later.push) if self._finishing else (self._check, self._append)
        check(text)
        self._allowance.take(len(text), self._loop.time())
        take(text)

    def _check(self, text: str) -> None:
        if self._chars + len(text) > self._limits.text.stream_chars:
            raise TextTooLong(f"an answer has at most {self._limits.text.stream_chars} characters", field="token")
        if self.unspoken_chars + len(text) > self._limits.text.pending_chars:
            raise TextTooLong(f"{self._limits.text.pending_chars} characters wait already", field="token")

    def _append(self, text: str) -> None:
        self._allowance.begin()
        self._chars += len(text)
        self._cutter.push(text)

    def flush(self) -> None:
        """What was pushed so far is a whole sentence."""
        if self._finishing:
            self._later.mark(Mark.FLUSH)
        else:
            self._cutter.flush()

    def finish(self) -> bool:
        """The answer is complete. False: it was already, with nothing said since, and no other one ends for this."""
        if self._finishing:
            return self._later.mark(Mark.DONE)
        self.flush()
        self._dispatcher.finish(self._id)
        self._finishing = True
        self._end_if_complete()
        return True

    def cancel(self) -> None:
        """Barge-in: nothing of the current answer is rendered or sent any more."""
        heard = self.listening.heard(self._loop.time())
        self._outbox.drop_answer()
        self._drop("cancelled")
        self._emit(AnswerCancelled(heard.text, round(heard.heard_s * 1000), round(heard.delivered_s * 1000)))

    def close(self) -> None:
        """The client is gone, or was sent away."""
        error = self._outbox.failure
        self._drop("failed" if error else "left", error.code if error else "")
        self._dispatcher.close_stream(self._id)
        self._backend.streams.pop(self._id, None)
        self._outbox.close()

    # Text to sentences

    def _may_hurry(self) -> bool:
        """With an answer's first words, if a worker has nothing else to do."""
        is_first = self._backend.config.eager_clause and self._settings.live and not self._reorder.has_begun
        return is_first and self._dispatcher.has_idle_worker

    def _submit(self, piece: str) -> None:
        if self._given_up:
            return
        text = piece.strip()
        index = self._reorder.open(text)
        self.listening.said(index, piece)
        words = self._speaker.without_description(piece) if index == 0 else piece
        marked = self._speakable(words) if self._settings.speakable else words.strip()
        spoken, dropped = understood_only(marked, self._backend.config.tags)
        self._emit(SentenceAccepted(index, text, dropped, bool(spoken)))
        if not spoken:
            self._emit(*self._reorder.close(index))
            return
        sentence = Sentence(index, text, spoken, self, self._limits.stream)
        self._sentences[index] = sentence
        self.listening.accepted(index, self._loop.time(), sentence.chars)
        self._waiting_chars += sentence.chars
        self._make_room()
        if self._given_up:
            return
        self._dispatcher.submit(self._id, index, sentence)
        if len(self._sentences) == 1:
            self._patience.begin()

    def _make_room(self) -> None:
        """In a full line somebody goes: a stream of the client that has the most there, or this one."""
        room = self._limits.stream.waiting_per_worker * self._backend.pool.size
        loser = self._dispatcher.loser(self._id, room)
        if loser is not None:
            self._backend.streams[loser].turn_away()

    def turn_away(self) -> None:
        """There is no place in line for its answer. What still waits to be sent is of the one before, and stays."""
        error = Overloaded(
            "too many streams are waiting; try again later", retry_after_s=self._dispatcher.place_free_in_s
        )
        self._give_up(error, keeps_audio=self._outbox.waiting_bytes > 0)

    def _give_up(self, error: VoiceError, *, keeps_audio: bool = False) -> None:
        """The stream ends with this error: its door closes it."""
        self._given_up = True
        if not keeps_audio:
            self._outbox.drop_answer()
        self._drop("failed", error.code)
        self._emit(Problem(error))

    # SentenceOwner

    @property
    def guards_output(self) -> bool:
        return self._backend.config.guard

    def has_left(self, sentence: Sentence) -> bool:
        return self._reorder.has_released(sentence.index)

    @property
    def trims_silence(self) -> bool:
        return self._backend.config.trim_silence

    def request_for(self, spoken: str) -> RenderRequest:
        return self._speaker.request(spoken)

    def on_rendering(self, sentence: Sentence, worker: str) -> None:
        self._patience.end()
        self.listening.rendering(sentence.index, self._loop.time(), worker)
        depth = self._dispatcher.waiting(self._id)
        self._emit(SentenceRendering(sentence.index, sentence.text, depth, worker))

    def on_sentence_audio(self, sentence: Sentence, pcm: bytes) -> None:
        self._emit(*self._reorder.push(sentence.index, pcm))

    def on_sentence_end(self, sentence: Sentence, error: VoiceError | None) -> None:
        if self._given_up:
            return
        self._patience.end()  # a sentence that was refused does not wait any more
        self._sentences.pop(sentence.index, None)
        self._waiting_chars -= sentence.chars
        self.listening.rendered(sentence.index, self._loop.time(), error.code if error else "")
        if isinstance(error, BadAudio):
            self._emit(*self._reorder.reject(sentence.index, error))
        elif error:
            self._emit(*self._reorder.fail(sentence.index, error))
        else:
            self._emit(*self._reorder.close(sentence.index, truncated=sentence.truncated))
        self._report_undelivered(0.0)  # nobody waits for what was rendered and left out, or held back to its end
        self._end_if_complete()

    def on_sentence_retry(self, sentence: Sentence, *, exact: bool) -> None:
        self.listening.retried()
        self._reorder.restart(sentence.index, exact=exact)
        self._report_undelivered(0.0)
        self._dispatcher.retry(self._id, sentence.index, sentence, avoid=sentence.worker)

    def on_sentence_poisonous(self, sentence: Sentence) -> None:
        self._poisonous += 1
        client, charges, now = self._settings.client, self._dispatcher.charges, self._loop.time()
        charges.add(client, now)
        # Its streams that harm nobody go on: an address may be that of a whole house.
        if self._poisonous >= self._limits.stream.poisonous_sentences or charges.are_too_many(client, now):
            self._give_up(Poisoned("the text of this stream keeps killing workers"))

    def stop_render(self, sentence: Sentence) -> None:
        self._dispatcher.stop_render(self._id, sentence)

    # Inside

    def _emit(self, *events: Event) -> None:
        self._outbox.put(*events)

    def _on_delivered(self, event: Event) -> None:
        if isinstance(event, AudioChunk):
            self.listening.delivered(event, self.sample_rate, self._loop.time())
            self._report_undelivered(audio.duration_s(len(event.pcm), self.sample_rate))
        elif isinstance(event, SentenceEnded):
            self.listening.sentence_ended(event.index, event.duration_s, event.lead_s)
        elif isinstance(event, AnswerDone):
            self.listening.ended(self._loop.time())

    def _report(self, report: AnswerReport) -> None:
        """An answer has ended: the only place that sees all of them, whatever the door and the reason."""
        self._backend.answered(self._origin, report)

    @property
    def _origin(self) -> Origin:
        asked = self._asked_by
        return Origin(
            backend=self._backend.name,
            stream=self._id,
            door=asked.door(),
            client=self._settings.client,
            voice=self.voice,
            live=self._settings.live,
            request_id=asked.id,
            trace=asked.trace,
        )

    def _report_undelivered(self, delivered_s: float) -> None:
        held = self._reorder.held_bytes + self._outbox.waiting_bytes
        self._dispatcher.delivered(self._id, delivered_s, audio.duration_s(held, self.sample_rate))

    def _end_if_complete(self) -> None:
        if self._finishing and self._reorder.is_empty and not self._given_up:
            self.listening.finished()
            if self._reorder.is_mute:
                self._emit(Problem(EmptyText("there was nothing to speak in this text")))
            self._emit(AnswerDone())
            self._new_answer()
            self._say_later()

    # The next answer, if the client began it early

    def _say_later(self) -> None:
        while self._later and not self._finishing:
            said = self._later.pop()
            if said is Mark.DONE:
                self.finish()
            elif said is Mark.FLUSH:
                self.flush()
            else:
                self._append(said)

    def _drop(self, state: AnswerState, code: str = "") -> None:
        self._patience.end()
        self._dispatcher.clear(self._id)
        self.listening.dropped(self._loop.time(), state, code)
        self._later.clear()
        self._new_answer()
