from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.backends.voxcpm.texts import Cleaner, split_description
from voice_server.worker.adapter import BackendError

CLEANER = Cleaner(["<s>", "<|reserved_7|>", "[END]"])
PIECES = ["<|", "|>", "<s>", "</s", ">", "a", " ", "<|audio_start|>", "[END]", "[E", "ND]", "<", "|"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Hello <|audio_start|> there", "Hello there"),
        ("one</s>two<S>three", "one two three"),
        ("<|a<|b|>udio|>x", "x"),
        ("the end[END].", "the end ."),
        ("two\n lines \t here", "two lines here"),
        ("half \ud83d an emoji", "half an emoji"),
        ("a < b and c > d | e", "a < b and c > d | e"),
        ("<b>bold</b>", "<b>bold</b>"),
    ],
)
def test_control_tokens_go_and_the_rest_stays(text, clean):
    assert CLEANER.clean(text) == clean


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_nothing_that_is_left_makes_a_control_token(text):
    clean = CLEANER.clean(text)
    assert CLEANER.clean(clean) == clean
    assert not any(token in clean for token in ("<s>", "</s>", "<|audio_start|>", "[END]"))


@pytest.mark.parametrize("text", ["", " ", "...", "🙂🙂", "<s></s>", "— “ ”"])
def test_a_text_without_words_is_refused(text):
    with pytest.raises(BackendError) as caught:
        CLEANER.speakable(text)
    assert caught.value.code == "bad_text"


@pytest.mark.parametrize("text", ["Hi.", "7", "你好", "é"])
def test_a_text_with_a_word_is_spoken(text):
    assert CLEANER.speakable(text) == text


@pytest.mark.parametrize(
    ("text", "described"),
    [
        ("(calm old man) Hello.", ("calm old man", "Hello.")),
        ("(calm)Hello (again).", ("calm", "Hello (again).")),
        ("Hello (again).", ("", "Hello (again).")),
        ("(only this)", ("", "(only this)")),
        ("(only this) ...", ("", "(only this) ...")),
        ("(a (b) c) Hello.", ("", "(a (b) c) Hello.")),
    ],
)
def test_a_description_is_what_a_text_begins_with_in_parentheses(text, described):
    assert split_description(text) == described
