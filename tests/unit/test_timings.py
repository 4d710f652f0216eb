from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.cost import costs_less
from voice_server.core.text.timings import WordTime, char_times, word_times

_TEXTS = st.one_of(
    st.text(max_size=80),
    st.text(alphabet="ab eE,.!?*_`#[]()|:/ 你好。、ñб9$%😀\n", max_size=80),
    st.lists(
        st.sampled_from(["Hello,", "**world**", "https://a.b/c.", "😀", "3.14", "—", "好", "www."]), max_size=12
    ).map(" ".join),
)
_DURATIONS = st.floats(min_value=0.0, max_value=60.0)


def _spans(text: str, duration_s: float = 2.0) -> dict[str, tuple[float, float]]:
    return {word.word: (word.start_s, word.end_s) for word in word_times(text, duration_s)}


def _length(text: str, word: str) -> float:
    start_s, end_s = _spans(text)[word]
    return end_s - start_s


def test_a_tag_takes_no_time_of_the_words() -> None:
    assert _length("Hello [laugh] there", "[laugh]") == 0.0


@given(_TEXTS, _DURATIONS)
@example("https://a.b dot b", 3.0)  # what is read of the link is also written behind it
def test_words_come_in_order_and_cover_the_sentence(text: str, duration_s: float) -> None:
    words = word_times(text, duration_s)
    edges = [edge for word in words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert not words or (edges[0], edges[-1]) == (0.0, duration_s)


@given(_TEXTS, _DURATIONS)
def test_words_and_the_white_space_between_them_are_the_text(text: str, duration_s: float) -> None:
    words = word_times(text, duration_s)
    assert all(text[word.begin : word.end] == word.word for word in words)
    edges = [0, *(edge for word in words for edge in (word.begin, word.end)), len(text)]
    assert edges == sorted(edges)
    assert not "".join(text[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True)).strip()


@given(_TEXTS, _DURATIONS)
def test_characters_follow_one_another_without_a_hole(text: str, duration_s: float) -> None:
    times = char_times(text, duration_s)
    assert len(times) == len(text)
    assert all(start_s + length_s == pytest.approx(next_s) for (start_s, length_s), (next_s, _) in pairwise(times))
    assert all(length_s >= 0 for _, length_s in times)
    if text:
        assert times[0][0] == 0.0
        assert sum(times[-1]) == pytest.approx(duration_s)


@given(_TEXTS, _DURATIONS)
def test_a_character_is_heard_while_its_word_is(text: str, duration_s: float) -> None:
    chars = char_times(text, duration_s)
    for word in word_times(text, duration_s):
        assert chars[word.begin][0] == pytest.approx(word.start_s)
        assert sum(chars[word.end - 1]) >= word.end_s - 1e-9


@pytest.mark.parametrize("piece", ["a ", "* ", "你", "1,", "[x](y) ", "a b "])
def test_the_cost_of_timing_a_text_grows_with_it_and_not_with_its_square(piece: str) -> None:
    # a minute for the worst of them where words were compared in pairs
    assert costs_less(
        lambda: char_times((piece * 8192)[:8192], 600.0), 40, lambda: char_times((piece * 512)[:512], 600.0)
    )


def test_a_long_word_takes_longer_than_a_short_one() -> None:
    assert _length("an extraordinary day", "extraordinary") > 2 * _length("an extraordinary day", "day")


def test_a_silent_e_is_no_syllable() -> None:
    assert _length("make mako", "make") < _length("make mako", "mako")


def test_digits_take_as_long_as_the_words_they_are_read_as() -> None:
    assert _length("in 1984 already", "1984") > _length("in 1984 already", "already")


def test_an_acronym_is_read_letter_by_letter() -> None:
    assert _length("XML xmls", "XML") > _length("XML xmls", "xmls")


def test_there_is_a_pause_behind_a_comma_and_none_behind_the_last_word() -> None:
    spans = _spans("Well, yes.")
    assert spans["yes."][0] - spans["Well,"][1] > 0.1
    assert spans["yes."][1] == 2.0


@pytest.mark.parametrize("mark", "،؛၊؟۔।॥။។｡")
def test_there_is_a_pause_behind_the_marks_of_every_script(mark: str) -> None:
    first, second = word_times(f"eins{mark} zwei", 2.0)
    assert second.start_s > first.end_s


def test_marks_within_a_number_are_no_pause() -> None:
    spans = _spans("about 1,000 people")
    assert spans["1,000"][1] == spans["people"][0]


def test_each_ideograph_is_a_word_of_its_own_with_its_marks() -> None:
    assert list(_spans("你「好」，world")) == ["你", "「好」，", "world"]


def test_ideographs_take_the_same_time_each() -> None:
    spans = _spans("你好世界")
    assert {round(end_s - start_s, 6) for start_s, end_s in spans.values()} == {0.5}


def test_markdown_takes_no_time() -> None:
    assert list(_spans("a **bold** move").values()) == list(_spans("a bold move").values())


def test_an_emoji_has_its_place_and_no_length() -> None:
    words = word_times("go 😀 now", 2.0)
    assert words[1] == WordTime("😀", words[0].end_s, words[0].end_s, 3, 4)
    assert words[1].end_s == words[2].start_s


def test_a_url_takes_the_time_of_what_is_said_of_it() -> None:
    short, long = "see https://a.org now", "see https://a.org/very/long/path/of/nothing?that=is&spoken=ever now"
    assert _spans(short)["now"] == _spans(long)["now"]


def test_the_words_of_a_link_take_the_time_and_its_target_takes_none() -> None:
    plain = _spans("please click here now")
    linked = _spans("please [click here](https://example.org/a/b) now")
    assert linked["now"] == pytest.approx(plain["now"])
    assert linked["[click"] == pytest.approx(plain["click"], abs=0.1)


def test_a_sentence_of_which_nothing_is_spoken_is_shared_out_evenly() -> None:
    assert _spans("😀 —") == {"😀": (0.0, 1.0), "—": (1.0, 2.0)}


def test_so_many_words_that_nobody_compares_them_share_the_time_evenly() -> None:
    spans = [(word.start_s, word.end_s) for word in word_times("[laugh] " + "ha " * 500, 50.1)]
    assert len(spans) == 501 and spans[-1][1] == pytest.approx(50.1)
    assert spans[250][1] == pytest.approx(25.1, abs=0.2)


def test_a_text_without_a_word_has_no_times() -> None:
    assert word_times(" \n", 1.0) == []


def test_a_pause_before_the_words_moves_them_and_takes_none_of_their_time() -> None:
    plain, late = word_times("One more word.", 1.0), word_times("One more word.", 1.5, 0.5)
    assert [(word.start_s + 0.5, word.end_s + 0.5) for word in plain] == [(word.start_s, word.end_s) for word in late]
    assert char_times("One more word.", 1.5, 0.5)[0][0] == 0.5
