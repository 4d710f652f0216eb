"""Subtitles: where lines and cues end, when they are shown, and how they are written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.events import AnswerDone, AudioChunk, SentenceEnded, SentenceStarted
from voice_server.core.text.captions import Cue, cues, render, sentence_cues

LONG = (
    "When the storm had passed at last, the old harbour master walked down to the pier, counted the boats one by one, "
    "and wrote their names into the book that his father had left him."
)


def test_a_short_sentence_is_one_line_for_all_of_its_time() -> None:
    assert sentence_cues("Hello there.", 2.0, 0.75) == [Cue(2.0, 2.75, ("Hello there.",))]


def test_sentences_follow_each_other_by_their_true_durations() -> None:
    said = [
        *(SentenceStarted(0, "One."), AudioChunk(0, b"\0\0"), SentenceEnded(0, 1.25)),
        *(SentenceStarted(2, "Two."), SentenceEnded(2, 0.5), AnswerDone()),
    ]
    assert cues(said) == [Cue(0.0, 1.25, ("One.",)), Cue(1.25, 1.75, ("Two.",))]


def test_a_long_sentence_is_cut_into_cues_that_cover_its_time() -> None:
    found = sentence_cues(LONG, 1.0, 10.0)
    assert len(found) == 2 or len(found) == 3
    assert (found[0].start_s, found[-1].end_s) == (1.0, 11.0)
    assert all(len(cue.lines) <= 2 for cue in found)
    assert all(len(line) <= 42 for cue in found for line in cue.lines)
    assert " ".join(line for cue in found for line in cue.lines) == LONG


def test_no_word_is_left_alone_at_the_end() -> None:
    """Filled line by line, "today." would stand alone."""
    [cue] = sentence_cues("The weather in London is cold and very wet today.", 0.0, 3.0)
    assert cue.lines == ("The weather in London is", "cold and very wet today.")


def test_ideographs_count_as_two_columns() -> None:
    [cue] = sentence_cues("今天天气很好我们一起去公园散步然后回家吃晚饭再看一部电影吧", 0.0, 5.0)
    assert [len(line) for line in cue.lines] == [15, 14]


def test_a_line_that_is_not_spoken_has_no_cue() -> None:
    url = "https://example.org/" + "a" * 60
    assert [cue.lines for cue in sentence_cues(f"```\n{url}\n```", 0.0, 0.0)] == []


@given(st.text(alphabet="ab ,.!?-*_#`\n今é🙂", min_size=1, max_size=400), st.floats(0.1, 30.0))
def test_cues_are_in_order_and_inside_the_sentence(text: str, duration_s: float) -> None:
    found = sentence_cues(text, 0.0, duration_s)
    edges = [edge for cue in found for edge in (cue.start_s, cue.end_s)]
    assert edges == sorted(edges)
    assert all(0.0 <= edge <= duration_s for edge in edges)
    assert all(cue.start_s < cue.end_s and 1 <= len(cue.lines) <= 2 for cue in found)
    assert all(line.strip() == line != "" and "\n" not in line for cue in found for line in cue.lines)


def test_srt_is_numbered_and_has_a_comma_before_the_milliseconds() -> None:
    told = render([Cue(0.0, 1.2345, ("One.",)), Cue(3661.5, 3662.0, ("Two,", "three."))], "srt")
    assert told == "1\n00:00:00,000 --> 00:00:01,234\nOne.\n\n2\n01:01:01,500 --> 01:01:02,000\nTwo,\nthree.\n\n"


def test_vtt_has_a_head_and_a_point() -> None:
    assert render([Cue(0.0, 1.0, ("One.",))], "vtt") == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nOne.\n\n"


@pytest.mark.parametrize("text", ["a --> b", "<b>bold</b> & <c>", "&lt;"])
def test_vtt_takes_no_text_for_markup(text: str) -> None:
    payload = render([Cue(0.0, 1.0, (text,))], "vtt").split("\n")[3]
    assert "<" not in payload and "-->" not in payload
    assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt);)*", payload)
