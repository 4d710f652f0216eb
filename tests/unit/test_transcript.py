from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.text.timings import word_times
from voice_server.core.text.transcript import Heard, Transcript

FIRST, SECOND = "One two three four. ", "Five six."


def transcript(*pieces: str, seconds: float = 2.0, ended: bool = True) -> Transcript:
    """Of sentences that were delivered, so many seconds each."""
    made = Transcript()
    for index, piece in enumerate(pieces):
        made.said(index, piece)
        made.delivered(index, seconds)
        if ended:
            made.ended(index, seconds)
    return made


def test_nothing_was_heard_of_what_was_not_delivered() -> None:
    made = Transcript()
    made.said(0, FIRST)
    assert made.heard(0.0) == Heard()


def test_what_was_delivered_and_not_played_was_not_heard() -> None:
    assert transcript(FIRST).heard(0.0) == Heard("", 0.0, 2.0)


def test_the_text_ends_with_the_word_that_is_being_heard() -> None:
    third = word_times(FIRST.strip(), 2.0)[2]
    assert transcript(FIRST).heard(third.start_s).text == "One two"
    assert transcript(FIRST).heard(third.start_s + 0.01).text == "One two three"


def test_a_sentence_that_was_heard_is_there_with_all_its_marks() -> None:
    assert transcript("Go 😀! ", SECOND).heard(2.0).text == "Go 😀!"


def test_a_second_sentence_follows_in_the_clients_own_white_space() -> None:
    assert transcript("One.\n\n", SECOND).heard(2.1).text == "One.\n\nFive"


def test_white_space_before_a_sentence_is_not_taken_for_its_words() -> None:
    assert transcript("One. ", "   Five six").heard(4.0).text == "One.    Five six"


def test_what_is_never_spoken_between_two_sentences_is_part_of_the_text() -> None:
    made = Transcript()
    for index, piece in enumerate(["Look: ", "```x = 1``` ", "Done. "]):
        made.said(index, piece)
    for index in (0, 2):
        made.delivered(index, 1.0)
        made.ended(index, 1.0)
    assert made.heard(1.0).text == "Look:"
    assert made.heard(2.0).text == "Look: ```x = 1``` Done."


def test_a_sentence_that_still_renders_is_expected_to_last_as_long_as_the_ones_before() -> None:
    made = transcript("One two three four. ", seconds=4.0)
    made.said(1, "Five six seven eight.")
    made.delivered(1, 2.0)
    assert made.heard(5.9).text == "One two three four. Five six seven"


def test_the_first_sentence_while_it_renders_is_expected_to_be_spoken_as_people_speak() -> None:
    assert transcript("One two three four.", seconds=0.6, ended=False).heard(0.5).text == "One two"


def test_the_end_of_a_sentence_that_was_dropped_means_nothing() -> None:
    made = Transcript()
    made.ended(3, 1.0)
    assert made.heard(0.0) == Heard()


@pytest.mark.parametrize("ended", [True, False])
@given(
    pieces=st.lists(
        st.sampled_from(["One two. ", "好的。", "**Bold** 😀\n", "```x```\n", " 3 "]), min_size=1, max_size=5
    ),
    looks=st.lists(st.floats(0.0, 1.0), max_size=6),
)
def test_it_is_the_beginning_of_the_clients_text_and_never_goes_back(
    pieces: list[str], looks: list[float], ended: bool
) -> None:
    made = transcript(*pieces, ended=ended)
    texts = [made.heard(look * made.delivered_s).text for look in sorted(looks)]
    assert all("".join(pieces).lstrip().startswith(text) for text in texts)
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)
