from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from voice_server.core.audio import pcm as audio
from voice_server.core.audio.reorder import ReorderBuffer
from voice_server.core.errors import BadAudio, Runaway, SentenceFailed
from voice_server.core.events import AudioChunk, Event, Problem, SentenceEnded, SentenceResumed, SentenceStarted

RATE = 24_000
FADE_S = 0.005
LOUD = b"\x10\x27"  # 10 000, one sample


def buffer(sentences: int = 1) -> ReorderBuffer:
    made = ReorderBuffer(RATE, FADE_S)
    for index in range(sentences):
        made.open(f"text {index}")
    return made


def heard(events: list[Event]) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, AudioChunk))


def test_sentences_are_numbered_from_zero() -> None:
    made = ReorderBuffer(RATE, FADE_S)
    assert [made.open("a"), made.open("b")] == [0, 1]


def test_audio_of_the_head_goes_out_at_once() -> None:
    assert buffer().push(0, LOUD) == [SentenceStarted(0, "text 0"), AudioChunk(0, LOUD)]


def test_a_sentence_starts_once() -> None:
    made = buffer()
    made.push(0, LOUD)
    assert made.push(0, LOUD) == [AudioChunk(0, LOUD)]


def test_audio_behind_the_head_waits_for_it() -> None:
    made = buffer(2)
    assert made.push(1, LOUD * 2) == []
    assert made.held_bytes == 4
    assert made.close(0) == [SentenceStarted(1, "text 1"), AudioChunk(1, LOUD * 2)]
    assert made.held_bytes == 0


def test_all_that_waits_behind_the_head_is_counted() -> None:
    made = buffer(3)
    for index, samples in ((1, 2), (1, 1), (2, 4)):
        made.push(index, LOUD * samples)
    assert made.held_bytes == 14


def test_the_end_of_a_sentence_tells_how_long_it_was() -> None:
    made = buffer()
    made.push(0, LOUD * (RATE // 4))
    assert made.close(0) == [SentenceEnded(0, 0.25)]
    assert made.is_empty


PAUSE_S = 0.01
PAUSE = bytes(2 * RATE // 100)


def paused(sentences: int) -> ReorderBuffer:
    made = ReorderBuffer(RATE, FADE_S, PAUSE_S)
    for index in range(sentences):
        made.open(f"text {index}")
    return made


def test_a_pause_comes_between_two_sentences_and_nowhere_else() -> None:
    made = paused(2)
    events = [*made.push(0, LOUD), *made.push(0, LOUD), *made.close(0), *made.push(1, LOUD), *made.push(1, LOUD)]
    assert heard(events) == LOUD * 2 + PAUSE + LOUD * 2


def test_a_pause_belongs_to_the_sentence_behind_it() -> None:
    made = paused(2)
    made.push(0, LOUD)
    made.close(0)
    assert made.push(1, LOUD) == [SentenceStarted(1, "text 1", 1 / RATE), AudioChunk(1, PAUSE), AudioChunk(1, LOUD)]
    assert made.close(1) == [SentenceEnded(1, PAUSE_S + 1 / RATE, lead_s=PAUSE_S)]


def test_a_sentence_tells_how_much_of_the_answer_came_before_it() -> None:
    made = paused(3)
    events = [event for index in range(3) for event in made.push(index, LOUD * 10) + made.close(index)]
    starts = [event.at_s for event in events if isinstance(event, SentenceStarted)]
    assert starts == pytest.approx([0.0, 10 / RATE, PAUSE_S + 20 / RATE])


def test_no_pause_goes_before_or_after_a_sentence_that_gave_no_audio() -> None:
    made = paused(4)
    waiting = [*made.push(3, LOUD), *made.push(1, LOUD)]
    events = [*made.close(0), *made.close(1), *made.fail(2, SentenceFailed("no")), *made.close(3)]
    assert waiting == []
    assert heard(events) == LOUD + PAUSE + LOUD


def test_a_second_rendering_goes_on_behind_the_pause_where_the_first_one_stopped() -> None:
    made = paused(2)
    made.push(0, LOUD)
    made.close(0)
    made.push(1, LOUD)
    made.restart(1, exact=True)
    assert heard(made.push(1, LOUD + b"\x01\x02")) == b"\x01\x02"


def test_one_end_may_release_many_sentences() -> None:
    made = buffer(3)
    for index in (2, 1):
        made.push(index, LOUD)
        made.close(index)
    assert [type(event) for event in made.close(0)] == [SentenceStarted, AudioChunk, SentenceEnded] * 2
    assert made.is_empty


def test_a_sentence_without_audio_neither_starts_nor_ends() -> None:
    assert buffer().close(0) == []


def test_a_failed_sentence_is_heard_as_far_as_it_came() -> None:
    made, error = buffer(2), SentenceFailed("no")
    made.push(1, LOUD)
    assert made.fail(1, error) == []
    assert made.close(0)[1:] == [AudioChunk(1, LOUD), SentenceEnded(1, 1 / RATE), Problem(error, 1)]


def test_a_failed_sentence_does_not_hold_up_its_successor() -> None:
    made, error = buffer(2), Runaway("enough")
    made.push(1, LOUD)
    assert made.fail(0, error) == [Problem(error, 0), SentenceStarted(1, "text 1"), AudioChunk(1, LOUD)]


def test_a_rejected_sentence_is_not_heard() -> None:
    made, error = buffer(2), BadAudio("no")
    made.push(1, LOUD)
    assert made.reject(1, error) == []
    assert made.held_bytes == 0
    assert made.close(0) == [Problem(error, 1)]


def test_what_has_left_of_a_rejected_sentence_has_an_end() -> None:
    made, error = buffer(), BadAudio("no")
    assert not made.has_released(0)
    made.push(0, LOUD)
    assert made.has_released(0)
    assert made.reject(0, error) == [SentenceEnded(0, 1 / RATE), Problem(error, 0)]


def test_a_sentence_of_a_file_is_released_whole() -> None:
    made = ReorderBuffer(RATE, FADE_S, whole=True)
    made.open("text")
    assert made.push(0, LOUD) == []
    assert (made.held_bytes, made.has_released(0)) == (len(LOUD), False)
    assert heard(made.close(0)) == LOUD


def test_an_answer_is_mute_when_its_sentences_came_to_nothing_and_nobody_said_why() -> None:
    made = buffer()
    made.close(0)
    assert made.is_mute


@pytest.mark.parametrize("ending", ["audio", "problem", "no sentence"])
def test_an_answer_is_not_mute_when_there_was_something_to_tell(ending: str) -> None:
    made = buffer(0 if ending == "no sentence" else 1)
    if ending == "audio":
        made.push(0, LOUD)
    if ending == "problem":
        made.fail(0, SentenceFailed("no"))
    assert not made.is_mute


# A second rendering


def test_a_sentence_nobody_heard_starts_over_silently() -> None:
    made = buffer(2)
    made.push(1, LOUD)
    assert made.restart(1, exact=False) is False
    assert made.held_bytes == 0
    made.push(1, LOUD * 3)
    assert heard(made.close(0)) == LOUD * 3


def test_an_exact_second_rendering_goes_on_at_the_byte_where_the_first_stopped() -> None:
    made = buffer()
    made.push(0, b"aabbcc")
    assert made.restart(0, exact=True) is True
    assert made.push(0, b"aabb") == []
    assert made.push(0, b"ccddee") == [SentenceResumed(0, exact=True), AudioChunk(0, b"ddee")]
    assert made.push(0, b"ff") == [AudioChunk(0, b"ff")]


def test_an_inexact_second_rendering_fades_in_behind_the_seam() -> None:
    made = buffer()
    made.push(0, LOUD * 1000)
    made.restart(0, exact=False)
    resumed, chunk = made.push(0, LOUD * 2000)
    assert resumed == SentenceResumed(0, exact=False)
    assert isinstance(chunk, AudioChunk)
    assert chunk.pcm == audio.fade_in(LOUD * 1000, RATE, FADE_S)
    assert made.push(0, LOUD) == [AudioChunk(0, LOUD)]


def test_a_shorter_second_rendering_ends_the_sentence_where_it_was() -> None:
    made = buffer()
    made.push(0, LOUD * 1000)
    made.restart(0, exact=False)
    made.push(0, LOUD * 400)
    assert made.close(0) == [SentenceEnded(0, 1000 / RATE)]


def test_a_second_death_before_the_seam_leaves_out_the_same_bytes() -> None:
    made = buffer()
    made.push(0, b"aabb")
    made.restart(0, exact=True)
    made.push(0, b"aa")
    made.restart(0, exact=True)
    assert heard(made.push(0, b"aabbcc")) == b"cc"


def test_a_sentence_that_the_engine_cut_says_so_at_its_end() -> None:
    made = buffer()
    made.push(0, LOUD)
    (end,) = made.close(0, truncated=True)
    assert isinstance(end, SentenceEnded)
    assert end.truncated


@settings(deadline=None)
@given(
    whole=st.binary(min_size=2, max_size=400).map(lambda pcm: pcm[: len(pcm) // 2 * 2]),
    deaths=st.lists(st.integers(0, 200), max_size=3),
    chunk=st.integers(1, 50),
)
def test_however_often_its_workers_die_an_exact_sentence_is_heard_byte_by_byte(
    whole: bytes, deaths: list[int], chunk: int
) -> None:
    made, told = buffer(), bytearray()
    for samples in [*deaths, len(whole)]:
        for begin in range(0, min(2 * samples, len(whole)), 2 * chunk):
            told += heard(made.push(0, whole[begin : begin + 2 * chunk]))
        made.restart(0, exact=True)
    assert bytes(told) == whole


# Any order of events, against a model


@dataclass
class ModelSentence:
    audio: bytes = b""  # of the latest rendering
    heard: int = 0  # bytes of it that the listener has
    ended: bool = False
    error: bool = False


class ReorderMachine(RuleBasedStateMachine):
    """Every rendering of a sentence is exact: byte k is the same whoever renders it."""

    def __init__(self) -> None:
        super().__init__()
        self.real = ReorderBuffer(RATE, FADE_S)
        self.model: list[ModelSentence] = []
        self.events: list[Event] = []

    @rule()
    def open(self) -> None:
        assert self.real.open("text") == len(self.model)
        self.model.append(ModelSentence())

    @precondition(lambda self: self.rendering())
    @rule(data=st.data(), samples=st.integers(1, 5))
    def push(self, data: st.DataObject, samples: int) -> None:
        index = data.draw(st.sampled_from(self.rendering()))
        sentence = self.model[index]
        begin = len(sentence.audio) // 2
        pcm = b"".join((100 * index + sample).to_bytes(2, "little") for sample in range(begin, begin + samples))
        sentence.audio += pcm
        self.take(self.real.push(index, pcm))

    @precondition(lambda self: self.rendering())
    @rule(data=st.data(), fails=st.booleans())
    def end(self, data: st.DataObject, fails: bool) -> None:
        index = data.draw(st.sampled_from(self.rendering()))
        sentence = self.model[index]
        sentence.ended, sentence.error = True, fails
        self.take(self.real.fail(index, SentenceFailed("no")) if fails else self.real.close(index))

    @precondition(lambda self: self.rendering())
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(self.rendering()))
        assert self.real.restart(index, exact=True) is (self.model[index].heard > 0)
        self.model[index].audio = b""

    @invariant()
    def what_waits_is_counted(self) -> None:
        behind = self.model[self.head() + 1 :]
        assert self.real.held_bytes == sum(len(sentence.audio) for sentence in behind)
        assert self.real.is_empty is (self.head() == len(self.model))

    def teardown(self) -> None:
        """Everything was released, and between the start and the end of a sentence there was nothing of another."""
        for index in self.rendering():
            self.model[index].ended = True
            self.take(self.real.close(index))
        assert self.real.is_empty
        for event in self.events:
            if isinstance(event, Problem):
                assert self.model[event.sentence or 0].error
        assert speaking_at_the_end(self.events) is None

    def take(self, events: list[Event]) -> None:
        """Each call releases exactly what the model owes the listener, in order."""
        owed = self.owed()
        assert merged(events) == owed
        for index, pcm in owed:
            self.model[index].heard += len(pcm)
        self.events += events

    # The model

    def rendering(self) -> list[int]:
        return [index for index, sentence in enumerate(self.model) if not sentence.ended]

    def head(self) -> int:
        return next((index for index, sentence in enumerate(self.model) if not sentence.ended), len(self.model))

    def owed(self) -> list[tuple[int, bytes]]:
        reach = self.model[: self.head() + 1]
        news = [(index, sentence.audio[sentence.heard :]) for index, sentence in enumerate(reach)]
        return [(index, pcm) for index, pcm in news if pcm]


def speaking_at_the_end(events: list[Event]) -> int | None:
    """The sentence that has started and not ended; audio is always of that one."""
    speaking: int | None = None
    for event in events:
        match event:
            case SentenceStarted():
                assert speaking is None
                speaking = event.index
            case AudioChunk() | SentenceResumed():
                assert event.index == speaking
            case SentenceEnded():
                assert event.index == speaking
                speaking = None
    return speaking


def merged(events: list[Event]) -> list[tuple[int, bytes]]:
    """The audio of one call by sentence."""
    whole: dict[int, bytes] = {}
    for event in events:
        if isinstance(event, AudioChunk):
            whole[event.index] = whole.get(event.index, b"") + event.pcm
    return list(whole.items())


TestAnyOrderOfEvents = ReorderMachine.TestCase
TestAnyOrderOfEvents.settings = settings(max_examples=2 * settings.default.max_examples, stateful_step_count=40)
