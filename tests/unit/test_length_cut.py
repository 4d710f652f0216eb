"""Sentences cut before their end: by their length, and behind the first clause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.limits import TextLimits
from voice_server.core.text.length_cut import clause_cut
from voice_server.core.text.sentences import SentenceSplitter, split_clause

FULL = TextLimits()
SHORT = TextLimits(sentence_soft_chars=12, sentence_hard_chars=20)


def sentences_of(pieces: list[str], limits: TextLimits = SHORT) -> list[str]:
    splitter = SentenceSplitter(limits)
    return [sentence for piece in pieces for sentence in splitter.push(piece)] + splitter.flush()


def test_a_long_sentence_is_cut_at_its_first_clause_mark_after_the_soft_limit() -> None:
    text = "word " * 30 + "early, " + "word " * 30 + "late, " + "more words"
    first, second = sentences_of([text], FULL)
    assert first.endswith("late, ")
    assert second == "more words"


def test_a_cut_forced_by_length_comes_before_an_end_read_later() -> None:
    assert sentences_of(["a long clause, end. Next."]) == ["a long clause, ", "end. ", "Next."]


@pytest.mark.parametrize("mark", ["、", "，", "；", "："])
def test_a_long_chinese_sentence_is_cut_at_a_clause_mark(mark: str) -> None:
    assert sentences_of(["字" * 300 + mark + "字" * 9], FULL) == ["字" * 300 + mark, "字" * 9]


@pytest.mark.parametrize("mark", ["، ", "؛ ", "၊", "၊ "])
def test_a_long_arabic_or_burmese_sentence_is_cut_at_a_clause_mark(mark: str) -> None:
    sentences = sentences_of(["ا" * 300 + mark + "ا" * 9], FULL)
    assert [part.strip() for part in sentences] == ["ا" * 300 + mark.strip(), "ا" * 9]


def test_a_number_is_no_clause() -> None:
    text = "x" * 255 + " 1,000 10:30 y"
    assert sentences_of([text], FULL) == [text]


def test_a_sentence_without_marks_is_cut_at_the_last_white_space_before_the_hard_limit() -> None:
    sentences = sentences_of(["word " * 200], FULL)
    assert sentences[0] == "word " * 80
    assert sentences_of(["lengthy " * 7], SHORT)[0] == "lengthy lengthy "


def test_a_text_without_white_space_is_cut_at_the_hard_limit() -> None:
    assert [len(sentence) for sentence in sentences_of(["字" * 1000], FULL)] == [400, 400, 200]


@pytest.mark.parametrize("character", ["e\u0301", "👩\u200d🚀", "👍\U0001f3fd", "🇩🇪", "❤\ufe0f", "\ud83d\ude00"])
def test_a_hard_cut_never_splits_a_visible_character(character: str) -> None:
    for before in range(15, 21):
        sentences = sentences_of(["x" * before + character + "y" * 30])
        assert sum(character in sentence for sentence in sentences) == 1


def test_a_hard_cut_never_splits_a_tag() -> None:
    for before in range(8, 21):
        assert any("[soft laugh]" in sentence for sentence in sentences_of(["x" * before + "[soft laugh]" + "y" * 30]))


def test_endless_combining_marks_are_cut_all_the_same() -> None:
    assert max(len(sentence) for sentence in sentences_of(["x" + "\u0301" * 1000])) == SHORT.sentence_hard_chars


# "|" marks the end of the clause that may go ahead.
CLAUSES = [
    "I think that we should leave, |before it rains.",
    "Yes, I think that we should leave, |before it rains.",
    "There are three reasons for it: |time, money and fun.",
    "我们今天去了一个很远很漂亮的地方看风景拍照片吃东西聊天，|然后回家。",
    "ذهبنا اليوم إلى مكان بعيد وجميل جدا، |ثم عدنا إلى البيت.",
    "No clause is to be found in this sentence.",
    "Short, but without another mark.",
    "It was on the evening of March 3, 2024, in the rain, |that we met.",
    "The price was one million or 1,000,000 of them at 10:30 or so.",
    "Bring fruit of any kind, e.g., apples, |or whatever is there.",
    "Look at https://example.com/a,b;c:d?e=f that is it, |I think.",
    'He said "I will be there at eight, if I can" and left, |did he not?',
    "He said “I will be there at eight, if I can” and left, |did he not?",
    "My friend (an old one, from school, in fact) is here today, |and smiles.",
    "My friend from the old days (an old one, from school",
    "Call `print(first, second, third, fourth)` before all else, |then stop.",
    "(a calm elderly man, with a soft voice) Good evening, my dear friends, |and welcome.",
    "(a calm elderly man with a very soft voice), hello.",
    "See [the page of all pages, with much text](https://example.com), please.",
    "That is so [laugh, very loud] funny, is it not?",
]


@pytest.mark.parametrize("marked", CLAUSES)
def test_the_first_clause_that_can_stand_alone_ends_where_a_reader_would_breathe(marked: str) -> None:
    assert clause_cut(marked.replace("|", ""), FULL) == max(0, marked.find("|"))


@pytest.mark.parametrize(("chars", "is_cut"), [(24, False), (25, True)])
def test_a_clause_that_goes_ahead_is_long_enough(chars: int, is_cut: bool) -> None:
    assert bool(clause_cut("x" * (chars - 1) + ", and more", FULL)) == is_cut


# The first clause, ahead of its sentence

CLAUSE, REST = "I think that we should leave, ", "before it begins to rain again. "


def test_a_clause_is_taken_from_the_open_sentence_which_goes_on_behind_it() -> None:
    splitter = SentenceSplitter()
    assert splitter.push("  \n" + CLAUSE + "before") == []
    assert splitter.take_clause() == "  \n" + CLAUSE
    assert splitter.push(" it begins to rain again. So") == [REST]
    assert splitter.flush() == ["So"]


def test_white_space_is_no_clause() -> None:
    splitter = SentenceSplitter()
    splitter.push(" ")
    assert (splitter.take_clause(), splitter.pending) == ("", " ")


def test_no_clause_is_taken_while_an_earlier_end_is_in_doubt() -> None:
    splitter = SentenceSplitter()
    splitter.push("We have apples, pears etc. ")
    assert splitter.take_clause() == ""
    splitter = SentenceSplitter()
    splitter.push("We have apples and plums and pears, ")
    assert splitter.take_clause() == "We have apples and plums and pears, "


@given(st.lists(st.sampled_from([CLAUSE, REST, "etc. ", "Mr. ", ", ", "(", ") ", '"', "\n", "x" * 30, "3, ", "a"])))
def test_taking_clauses_at_any_time_loses_nothing_of_the_text(pieces: list[str]) -> None:
    splitter, sentences = SentenceSplitter(), list[str]()
    for piece in pieces:
        sentences += splitter.push(piece)
        sentences.append(splitter.take_clause())
    sentences += splitter.flush()
    assert "".join(sentences).rstrip() == "".join(pieces).rstrip()


def test_a_sentence_is_split_where_both_parts_are_long_enough() -> None:
    assert split_clause(CLAUSE + REST) == [CLAUSE, REST]
    assert split_clause(CLAUSE + "now. ") == [CLAUSE + "now. "]
    least = CLAUSE + "x" * FULL.eager_clause_chars
    assert (len(split_clause(least)), len(split_clause(least[:-1]))) == (2, 1)
    assert split_clause(REST) == [REST]
