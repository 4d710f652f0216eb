from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from voice_server.core.audio.listening import Listening, NoMeasures
from voice_server.core.events import AudioChunk
from voice_server.core.text.transcript import Heard

RATE = 1000  # samples per second: one is a millisecond


@dataclass
class Told:
    queue_waits: list[float] = field(default_factory=list)
    first_audios: list[float] = field(default_factory=list)
    onsets: list[float] = field(default_factory=list)
    sentence_gaps: list[float] = field(default_factory=list)
    answers: list[bool] = field(default_factory=list)

    def queue_wait(self, seconds: float, /) -> None:
        self.queue_waits.append(round(seconds, 6))

    def first_audio(self, seconds: float, /) -> None:
        self.first_audios.append(round(seconds, 6))

    def audible_onset(self, seconds: float, /) -> None:
        self.onsets.append(round(seconds, 6))

    def sentence_gap(self, seconds: float, /) -> None:
        self.sentence_gaps.append(round(seconds, 6))

    def answer(self, *, gap_free: bool) -> None:
        self.answers.append(gap_free)


class Answering:
    """A listening and what it tells, fed with sounds of so many seconds."""

    def __init__(self) -> None:
        self.told = Told()
        self.listening = Listening(self.told)

    def accepted(self, now: float, *sentences: int) -> None:
        for sentence in sentences:
            self.listening.said(sentence, f"Sentence {sentence}. ")
            self.listening.accepted(sentence, now)

    def audio(self, sentence: int, seconds: float, now: float, *, silence_s: float = 0.0) -> None:
        samples = np.full(round((silence_s + seconds) * RATE), 8000, dtype="<i2")
        samples[: round(silence_s * RATE)] = 0
        self.listening.delivered(AudioChunk(sentence, samples.tobytes()), RATE, now)

    def end(self) -> None:
        self.listening.finished()
        self.listening.ended(9.0)


@pytest.fixture
def answering() -> Answering:
    return Answering()


def test_first_audio_counts_from_the_first_sentence_of_the_answer(answering: Answering) -> None:
    answering.accepted(10.0, 0)
    answering.accepted(10.2, 1)
    answering.audio(0, 1.0, 10.5)
    answering.audio(1, 1.0, 10.6)
    assert answering.told.first_audios == [0.5]


def test_silence_before_the_first_sound_counts_to_the_onset(answering: Answering) -> None:
    answering.accepted(10.0, 0)
    answering.audio(0, 0.0, 10.5, silence_s=0.1)
    assert answering.told.onsets == []
    answering.audio(0, 0.5, 10.6, silence_s=0.2)
    answering.audio(0, 0.5, 11.0)
    assert answering.told.onsets == [0.8]


def test_the_queue_wait_ends_with_the_first_render_of_the_answer(answering: Answering) -> None:
    answering.accepted(10.0, 0, 1)
    answering.listening.rendering(0, 10.25)
    answering.listening.rendering(1, 12.0)
    answering.listening.rendering(0, 13.0)  # again: its worker died
    assert answering.told.queue_waits == [0.25]


def test_sentences_that_come_in_time_leave_no_gap(answering: Answering) -> None:
    answering.accepted(0.0, 0, 1)
    answering.audio(0, 1.0, 0.5)
    answering.audio(1, 1.0, 1.4)
    answering.end()
    assert (answering.told.sentence_gaps, answering.told.answers) == ([0.0], [True])


def test_a_late_sentence_leaves_a_gap_as_long_as_the_silence(answering: Answering) -> None:
    answering.accepted(0.0, 0, 1)
    answering.audio(0, 1.0, 0.5)
    answering.audio(1, 1.0, 1.75)
    answering.end()
    assert (answering.told.sentence_gaps, answering.told.answers) == ([0.25], [False])


def test_silence_within_a_sentence_spoils_the_answer_too(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 1.0, 0.5)
    answering.audio(0, 1.0, 1.6)
    answering.end()
    assert (answering.told.sentence_gaps, answering.told.answers) == ([], [False])


def test_silence_of_the_model_is_no_gap_of_ours(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 1.0, 0.5)
    answering.accepted(8.0, 1)
    answering.audio(1, 1.0, 8.1)
    answering.audio(1, 1.0, 9.0)
    answering.end()
    assert (answering.told.sentence_gaps, answering.told.answers) == ([], [True])


def test_text_that_came_in_time_and_was_spoken_late_is_a_gap(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 1.0, 0.5)
    answering.accepted(1.4, 1)
    answering.audio(1, 1.0, 2.0)
    answering.end()
    assert answering.told.sentence_gaps == [0.5]


def test_an_answer_that_begins_while_the_last_one_is_sent_is_measured_alone(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.listening.finished()
    answering.accepted(0.2, 0)
    answering.listening.rendering(0, 0.3)
    answering.audio(0, 1.0, 0.5)
    answering.listening.ended(9.0)
    answering.audio(0, 1.0, 0.7)
    answering.end()
    assert answering.told.first_audios == [0.5, 0.5]
    assert answering.told.queue_waits == [0.1]
    assert answering.told.answers == [True, True]


def test_an_answer_without_audio_is_neither_good_nor_bad(answering: Answering) -> None:
    answering.end()
    answering.accepted(0.0, 0)
    answering.end()
    assert answering.told == Told()


def test_a_cancelled_answer_counts_as_it_was_until_then(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 1.0, 0.5)
    answering.audio(0, 1.0, 3.0)
    answering.listening.dropped(9.0)
    answering.listening.dropped(9.0)  # the client leaves
    assert answering.told.answers == [False]


def test_audio_that_was_on_its_way_at_a_cancel_belongs_to_nobody(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.listening.dropped(9.0)
    answering.audio(0, 1.0, 1.0)
    assert answering.told == Told()
    assert answering.listening.heard_s(2.0) == 0.0


def test_the_last_word_of_an_answer_may_come_after_a_cancel(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 1.0, 0.5)
    answering.listening.finished()
    answering.listening.dropped(9.0)
    answering.accepted(1.0, 0)
    answering.listening.ended(9.0)  # of the first answer
    answering.audio(0, 1.0, 1.5)
    assert answering.told.first_audios == [0.5, 0.5]


def test_the_listener_hears_what_was_delivered(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 2.0, 1.0)
    assert (answering.listening.heard_s(1.5), answering.listening.runs_out_in_s(1.5)) == (0.5, 1.5)


# What a barge-in cuts


def test_the_answer_that_is_heard_is_told_as_far_as_it_was(answering: Answering) -> None:
    answering.accepted(0.0, 0, 1)
    answering.audio(0, 2.0, 1.0)
    answering.listening.sentence_ended(0, 2.0)
    answering.audio(1, 2.0, 1.1)
    assert answering.listening.heard(1.0) == Heard("", 0.0, 4.0)
    assert answering.listening.heard(3.2).text == "Sentence 0. Sentence"
    assert answering.listening.heard(9.0) == Heard("Sentence 0. Sentence 1.", 4.0, 4.0)


def test_an_answer_that_was_delivered_is_still_heard_until_it_has_run_out(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 2.0, 1.0)
    answering.end()
    assert answering.listening.heard(2.5) == Heard("Sentence 0.", 1.5, 2.0)
    assert answering.listening.heard(3.5) == Heard()


def test_the_next_answer_is_heard_behind_the_last_one(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 2.0, 1.0)
    answering.end()
    answering.accepted(1.0, 0)
    answering.audio(0, 3.0, 1.5)
    assert answering.listening.heard(2.0) == Heard("Sentence", 1.0, 2.0)
    assert answering.listening.heard(4.0).heard_s == 1.0
    assert answering.listening.heard(4.0).delivered_s == 3.0


def test_nothing_is_heard_any_more_after_a_barge_in(answering: Answering) -> None:
    answering.accepted(0.0, 0)
    answering.audio(0, 2.0, 1.0)
    answering.end()
    answering.listening.dropped(9.0)
    assert answering.listening.heard(1.5) == Heard()


def test_nobody_need_ask() -> None:
    listening = Listening(NoMeasures())
    listening.said(0, "Hello.")
    listening.accepted(0, 1.0)
    listening.rendering(0, 1.0)
    listening.delivered(AudioChunk(0, b"\0\x40" * RATE), RATE, 1.0)
    listening.finished()
    listening.ended(9.0)
    assert listening.heard_s(9.0) == 0.0
