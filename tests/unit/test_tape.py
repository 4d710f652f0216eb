from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from voice_server.core.audio.tape import Tape
from voice_server.core.errors import CannotResume
from voice_server.core.events import AnswerDone, AudioChunk, SentenceEnded, SentenceStarted, Told
from voice_server.core.limits import ResumeLimits

ROOMY = ResumeLimits(kept_bytes=10_000, entry_bytes=0)
START, END = Told(SentenceStarted(0, "x"), "start"), Told(SentenceEnded(0, 1.0), "end")
DONE = Told(AnswerDone(), "done")


def sound(pcm: bytes) -> Told:
    return Told(AudioChunk(0, pcm), pcm)


def tape_of(*told: Told, limits: ResumeLimits = ROOMY) -> Tape:
    tape = Tape(limits)
    for one in told:
        tape.append(one)
    return tape


def messages(told: list[Told]) -> list[str | bytes]:
    return [one.message for one in told]


ANSWER = (START, sound(b"abcd"), sound(b"efgh"), END, DONE)


@pytest.mark.parametrize(
    ("audio_bytes", "known", "lacking"),
    [
        (0, 0, ["start", b"abcd", b"efgh", "end", "done"]),
        (0, 1, [b"abcd", b"efgh", "end", "done"]),
        (4, 1, [b"efgh", "end", "done"]),
        (6, 1, [b"gh", "end", "done"]),
        (8, 1, ["end", "done"]),
        (8, 2, ["done"]),
        (8, 3, []),
    ],
)
def test_what_comes_after_a_place_is_taken_back_exactly(audio_bytes: int, known: int, lacking: list[str]) -> None:
    assert messages(tape_of(*ANSWER).rewind(audio_bytes, known)) == lacking


@pytest.mark.parametrize(
    ("audio_bytes", "lacking"),
    [
        (0, ["start", b"abcd", b"efgh", "end", "done"]),
        (4, [b"efgh", "end", "done"]),
        (6, [b"gh", "end", "done"]),
        (8, ["end", "done"]),
    ],
)
def test_who_counts_audio_only_gets_the_messages_at_its_byte_again(audio_bytes: int, lacking: list[str]) -> None:
    assert messages(tape_of(*ANSWER).rewind(audio_bytes)) == lacking


@pytest.mark.parametrize(("audio_bytes", "known"), [(10, 3), (8, 4), (0, 2), (4, 0), (4, 3), (10, None)])
def test_a_place_that_never_was_is_refused_and_changes_nothing(audio_bytes: int, known: int | None) -> None:
    tape = tape_of(*ANSWER)
    with pytest.raises(CannotResume):
        tape.rewind(audio_bytes, known)
    assert messages(tape.rewind(0, 0)) == messages(list(ANSWER))


def test_what_is_not_kept_any_more_is_refused() -> None:
    tape = tape_of(sound(b"ab"), sound(b"cd"), limits=ResumeLimits(kept_bytes=3, entry_bytes=0))
    with pytest.raises(CannotResume):
        tape.rewind(0, 0)
    assert messages(tape.rewind(2, 0)) == [b"cd"]


def test_many_small_messages_take_no_more_memory_than_few_large_ones() -> None:
    tape = tape_of(*[DONE] * 1000, limits=ResumeLimits(kept_bytes=1000, entry_bytes=96))
    with pytest.raises(CannotResume):
        tape.rewind(0, 989)
    assert len(tape.rewind(0, 990)) == 10


class TapeMachine(RuleBasedStateMachine):
    """A tape against a list of everything that its client was sent."""

    @initialize(kept=st.integers(20, 200), entry=st.integers(0, 8))
    def begin(self, kept: int, entry: int) -> None:
        self.limits = ResumeLimits(kept_bytes=kept, entry_bytes=entry)
        self.tape = Tape(self.limits)
        self.sent: list[str | bytes] = []
        self.dropped = 0  # of them, the oldest
        self.number = 0

    @rule(samples=st.integers(1, 10))
    def send_audio(self, samples: int) -> None:
        self.number += 1
        self._send(sound(bytes([self.number % 256]) * 2 * samples))

    @rule()
    def send_message(self) -> None:
        self.number += 1
        self._send(Told(AnswerDone(), str(self.number)))

    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.sent)))
        self._come_back(self.sent[:place], self.sent[place:], is_kept=place >= self.dropped)

    @precondition(lambda self: any(isinstance(one, bytes) and len(one) > 2 for one in self.sent))
    @rule(data=st.data())
    def come_back_within_a_message(self, data: st.DataObject) -> None:
        long = [at for at, one in enumerate(self.sent) if isinstance(one, bytes) and len(one) > 2]
        place = data.draw(st.sampled_from(long))
        pcm = self.sent[place]
        cut = 2 * data.draw(st.integers(1, len(pcm) // 2 - 1))
        had, lacking = [*self.sent[:place], pcm[:cut]], [pcm[cut:], *self.sent[place + 1 :]]
        self._come_back(had, lacking, is_kept=place >= self.dropped)

    def _send(self, told: Told) -> None:
        self.sent.append(told.message)
        self.tape.append(told)
        while sum(len(one) + self.limits.entry_bytes for one in self.sent[self.dropped :]) > self.limits.kept_bytes:
            self.dropped += 1

    def _come_back(self, had: list[str | bytes], lacking: list[str | bytes], *, is_kept: bool) -> None:
        try:
            told = self.tape.rewind(*place_of(had))
        except CannotResume:
            assert not is_kept
        else:
            assert is_kept
            assert messages(told) == lacking
            self.sent = had

    @invariant()
    def it_is_bounded_and_knows_what_was_sent(self) -> None:
        if hasattr(self, "tape"):
            assert self.tape.kept_bytes <= self.limits.kept_bytes
            assert (self.tape.audio_bytes, self.tape.messages) == place_of(self.sent)


def place_of(had: list[str | bytes]) -> tuple[int, int]:
    return sum(len(one) for one in had if isinstance(one, bytes)), sum(isinstance(one, str) for one in had)


TestTape = TapeMachine.TestCase
