from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voice_server.backends.kokoro.pieces import cut, pause_s

SHORT = "ðə wˈɛðəɹ ɪn lˈʌndən ɪz kˈOld, ænd wˈɛt tədˈA."
CLAUSE = "bəkˈʌz ðə tɹˈAn lˈivz æt sˈɛvən,"
STRINGS = st.text(alphabet="abcdefghijˈ ,.;", max_size=900)


def test_a_short_sentence_stays_whole() -> None:
    assert cut(SHORT) == [SHORT]


def test_the_first_piece_of_a_long_sentence_is_its_first_clause() -> None:
    assert cut(" ".join([CLAUSE] * 5))[0] == CLAUSE


def test_a_clause_too_short_to_stand_alone_takes_the_next_along() -> None:
    assert cut(f"jˈɛs, {CLAUSE} {CLAUSE}")[0] == f"jˈɛs, {CLAUSE}"


def test_a_short_rest_stays_with_the_last_piece() -> None:
    assert cut(f"{CLAUSE} {CLAUSE} jˈɛs.")[-1] == f"{CLAUSE} jˈɛs."


def test_pieces_grow_with_what_is_spoken_before_them() -> None:
    lengths = [len(piece) + 1 for piece in cut(" ".join([CLAUSE] * 9))]  # with the blank that parted them
    assert lengths[0] < lengths[1] < lengths[2]
    assert all(length <= 2 * sum(lengths[:number]) for number, length in enumerate(lengths) if number)


@given(STRINGS)
def test_nothing_is_lost_but_blanks(phonemes: str) -> None:
    assert "".join(cut(phonemes)).replace(" ", "") == phonemes.replace(" ", "")


@given(STRINGS)
def test_no_piece_is_so_long_that_a_cancel_would_wait_for_it(phonemes: str) -> None:
    assert max(map(len, cut(phonemes))) <= 170  # a short rest may come on top of 150


def test_the_pause_behind_a_piece_follows_its_last_mark() -> None:
    assert pause_s("tədˈA.") > pause_s("tədˈA;") > pause_s("tədˈA,") > pause_s("tədˈA") == 0.0
