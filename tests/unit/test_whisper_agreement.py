"""Which words of an unfinished utterance are certain."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from voice_server.backends.whisper.agreement import Agreement, Word, sentences, text_of


def words(text: str, start_s: float = 0.0) -> list[Word]:
    """Each lasts a second."""
    return [Word(f" {word}", (n,), start_s + n, start_s + n + 1) for n, word in enumerate(text.split())]


def heard(*readings: str) -> str:
    agreement = Agreement()
    for reading in readings:
        agreement.read(words(reading))
    return text_of(agreement.certain)


def test_one_reading_makes_nothing_certain() -> None:
    assert heard("the weather is cold") == ""


def test_what_two_readings_agree_on_is_certain() -> None:
    assert heard("the weather in Lund", "the weather in London is") == " the weather in"


def test_two_readings_that_are_not_in_a_row_do_not_count() -> None:
    assert heard("the weather is", "a whether is", "the weather is") == ""


def test_the_last_word_of_a_reading_is_never_certain() -> None:
    """It may have been cut in two: play, played."""
    assert heard("the piano", "the piano") == " the"


def test_punctuation_and_capitals_are_no_disagreement_and_the_newer_ones_hold() -> None:
    assert heard("hello there. Friend", "Hello there, friend of") == " Hello there, friend"


def test_a_reading_goes_on_behind_what_is_certain() -> None:
    agreement = Agreement()
    agreement.read(words("we came home"))
    agreement.read(words("we came home very"))
    agreement.read(words("very late today", start_s=3))
    assert text_of(agreement.certain) == " we came home very"
    assert text_of(agreement.open) == " late today"


def test_the_last_reading_is_certain_whole() -> None:
    agreement = Agreement()
    agreement.read(words("we came house"))
    assert text_of(agreement.finish(words("we came home late"))) == " we came home late"
    assert agreement.open == []


def test_sentences_are_cut_behind_their_ends() -> None:
    cut = sentences(words('He said: "Come in." She did! And then'))
    assert [text_of(sentence) for sentence in cut] == [' He said: "Come in."', " She did!", " And then"]


def test_a_reading_whose_words_overlap_is_straightened() -> None:
    agreement = Agreement()
    (one, other) = agreement.finish([Word(" a", (1,), 0.5, 2.0), Word(" b", (2,), 1.0, 1.5)])
    assert (one.end_s, other.start_s, other.end_s) == (2.0, 2.0, 2.0)


READINGS = st.lists(st.lists(st.sampled_from(["a", "b", "A,", "c."]), max_size=6), max_size=8)
STARTS = st.lists(st.floats(0, 25), min_size=8, max_size=8)


@given(READINGS, STARTS)
def test_what_was_certain_stays_so_and_times_never_run_backwards(
    readings: list[list[str]], starts: list[float]
) -> None:
    agreement, told = Agreement(), [""]
    for reading, start_s in zip(readings, starts, strict=False):
        agreement.read(words(" ".join(reading), start_s))
        told.append(text_of(agreement.certain))
    agreement.finish(words("the end"))
    told.append(text_of(agreement.certain))
    assert all(later.startswith(earlier) for earlier, later in pairwise(told))
    times = [time for word in agreement.certain for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
