"""What is spoken of a sentence, as a table, and the laws of speakable text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.text.speakable import Speakable, speakable

SPOKEN = {
    "Plain words.": "Plain words.",
    "**Bold** and *it* and __u__ and ~~no~~.": "Bold and it and u and no.",
    "***Both*** and **open": "Both and open",
    "closed** here. ": "closed here.",
    "## A heading ##\n": "A heading",
    "- item": "item",
    "* item": "item",
    "• item": "item",
    "- [x] task": "task",
    "1. First": "1. First",
    "> > quoted": "quoted",
    "Use `foo_bar()` now.": "Use foo_bar() now.",
    "See [the docs](https://a.b/c_d(e) 'title') now.": "See the docs now.",
    '![a cat](cat.png "t")': "a cat",
    "A claim[^1] here.": "A claim here.",
    "| name | age |": "name, age",
    "|---|:-:|": "",
    "---": "",
    "* * *": "",
    "Title\n=====\nText": "Title Text",
    "See https://www.example.com/a?b=c. Now.": "See example dot com. Now.",
    "See www.example.org!": "See example dot org!",
    "(<https://sub.example.com>)": "(sub dot example dot com)",
    "http://localhost:8000/x": "localhost",
    "https://user:secret@example.io/": "example dot io",
    "看https://example.com，好。": "看example dot com，好。",
    "Mail jo.doe@example.com.": "Mail jo dot doe at example dot com.",
    "mailto:a@b.com": "a at b dot com",
    "Hi 😀 there 👨\u200d👩\u200d👧 friend ❤\ufe0f": "Hi there friend",
    "1\ufe0f\u20e3 one": "1 one",
    "⏰ Up ⏳ at ⌚ six ▶\ufe0f now ℹ": "Up at six now",
    "Press ⌘ C": "Press ⌘ C",
    "a\tb \x00c\u200bd\x1b \ud800e": "a b cd e",
    "  many \n\n spaces\u00a0here  ": "many spaces here",
    "snake_case stays, __init__ loses": "snake_case stays, init loses",
    "$5.99, 5 €, 3%, 1,000 and -5": "$5.99, 5 €, 3%, 1,000 and -5",
    "2 * 3 = 6, 2*3, 2**3": "2 * 3 = 6, 2*3, 2**3",
    "C# and #1 and ~5 and a | b": "C# and #1 and ~5 and a | b",
    "a < b and c > d": "a < b and c > d",
    "你好，**世界**。": "你好，世界。",
    "「おはよう。」": "「おはよう。」",
    "می\u200cخواهم": "می\u200cخواهم",
    "नमस्ते": "नमस्ते",
    "[laugh] Ha [sigh][laugh]": "[laugh] Ha [sigh][laugh]",
    "“Smart” ‘quotes’ – dash — dash…": "\"Smart\" 'quotes' - dash — dash...",
    "<|audio_start|>Hi<|im_end|></s><s><br>": "Hi",
    r"\*literal\* \# mark": "literal # mark",
    "...": "",
    "😀": "",
    "**": "",
    "": "",
    " \n ": "",
}

MARKS = (
    "* _ ` ``` ~~ # - > | < </s> <| |> [ ] ( ) ! = --- \\ — – http:// www. .com @ . 1 a 字 😀 \u200d \ufe0f \ud800 \0"
)
marked_texts = st.lists(st.sampled_from([*MARKS.split(" "), " ", "\n"]) | st.characters(), max_size=40).map("".join)


@pytest.mark.parametrize(("sentence", "spoken"), SPOKEN.items(), ids=ascii)
def test_a_sentence_is_spoken_without_its_marks(sentence: str, spoken: str) -> None:
    assert speakable(sentence) == spoken


def test_a_fenced_block_is_not_spoken_however_many_sentences_it_takes() -> None:
    speak = Speakable()
    sentences = ["Code:\n", "```python\n", "x = 1\n", "print(x). ", "```\n", "Done. "]
    assert [speak(sentence) for sentence in sentences] == ["Code:", "", "", "", "", "Done."]


def test_a_fence_within_one_sentence_is_left_out() -> None:
    assert speakable("Type ```ls -l``` and look.") == "Type and look."


@pytest.mark.parametrize(
    ("sentences", "spoken"),
    [
        (
            ["Wrap it in backticks (```) so that it is shown. ", "Bye."],
            ["Wrap it in backticks () so that it is shown.", "Bye."],
        ),
        (["Use ```` to nest. ", "Fine."], ["Use to nest.", "Fine."]),
        (["It ends with ```. ", "Fine."], ["It ends with .", "Fine."]),
        (["It is this. ", "``` is the mark. ", "Fine."], ["It is this.", "is the mark.", "Fine."]),
        (["~~~ Hello! ", "~~~ Bye. "], ["Hello!", "Bye."]),
        (["A ~~~\n", "wave."], ["A", "wave."]),
    ],
)
def test_a_fence_that_is_only_spoken_about_silences_nothing(sentences: list[str], spoken: list[str]) -> None:
    speak = Speakable()
    assert [speak(sentence) for sentence in sentences] == spoken


@pytest.mark.parametrize(
    "block",
    [
        ["Run: ```bash\n", "ls\n", "```\n"],
        ["Run: ```\r\n", "ls\r\n", "```\r\n"],
        ["> - ```python title='a'\n", "> ls\n", "> ```\n"],
        ["1. ```bash\n", "   ls\n", "   ```\n"],
        ["\n ```bash\nls\n```\n"],
        ["````markdown\n", "```python\n", "print('x')\n", "```\n", "Text. ", "````\n"],
        ["~~~python\n", "print('```')\n", "~~~\n"],
        ["```\n", "~~~\n", "ls\n", "```\n"],
        ["```ls``` ", "````ls -l````"],
    ],
)
def test_code_is_not_spoken_however_it_is_fenced(block: list[str]) -> None:
    speak = Speakable()
    assert "".join(speak(sentence) for sentence in block) in ("", "Run:", "1.")
    assert speak("Done.") == "Done."


def test_a_fence_left_open_in_one_answer_does_not_silence_the_next() -> None:
    Speakable()("```python\n")
    assert Speakable()("Hello.") == "Hello."


@pytest.mark.parametrize("mark", ["<", "*", "[", "!", "\\"])
def test_marks_nested_deeper_than_anybody_writes_are_dropped(mark: str) -> None:
    nested = "<s" * 60 + ">" * 60 + "Hi" + mark * 60
    spoken = speakable(nested)
    assert "Hi" in spoken
    assert speakable(spoken) == spoken


@given(marked_texts)
def test_speakable_text_is_spoken_as_it_is(text: str) -> None:
    spoken = speakable(text)
    assert speakable(spoken) == spoken


@given(marked_texts)
def test_speakable_text_can_be_encoded_and_holds_no_controls(text: str) -> None:
    spoken = speakable(text)
    assert spoken.encode("utf-8").decode("utf-8") == spoken
    assert all(character.isprintable() or character in "\u200c\u200d" or ord(character) > 0x2FF for character in spoken)


@given(marked_texts)
def test_no_control_token_reaches_the_engine(text: str) -> None:
    assert not re.search(r"<\|[a-z_]*\|>|</?s>", speakable(text))


@given(marked_texts)
def test_what_is_spoken_has_a_letter_or_a_digit(text: str) -> None:
    spoken = speakable(text)
    assert spoken == "" or any(map(str.isalnum, spoken))


@given(st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd"], exclude_characters="ℹ"), min_size=1))  # an emoji
def test_letters_and_digits_of_every_script_are_kept(word: str) -> None:
    assert speakable(word) == word
