"""The splitter's table of hard texts, its laws as properties, and its cost as ratios."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cost import costs_less
from voice_server.core.limits import TextLimits
from voice_server.core.text.abbreviations import PysbdJudge
from voice_server.core.text.sentences import SentenceSplitter, join_short

FULL = TextLimits()
SHORT = TextLimits(sentence_soft_chars=12, sentence_hard_chars=20)

# "|" marks the expected cuts.
HARD_TEXTS = [
    "Hello there. |How are you? |I am fine!",
    "Hi! |Yes.",
    "! |Hello there.",
    "Yes. |? |No.",
    "Mr. Smith met Dr. Jones. |They ate.",
    "She works for Mrs. Brown and Prof. Green. |Good.",
    "The answer is no. |We go.",
    "We have apples, pears, etc. |We like them.",
    "We have apples, pears, etc. and plums. |Good.",
    "Room no. 5 is free. |Take it.",
    "They live in the U.S. |We do not.",
    "The U.S. President spoke. |We listened.",
    "We met at 5 p.m. |They left.",
    "At 5 p.m. we met. |They left.",
    "Eat fruit, e.g. Apples are fine. |Good.",
    "Ask the sales dept. (it is open). |Then go.",
    "J. K. Rowling wrote it. |I read it.",
    "That was plan B. |We had no other.",
    "Acme Inc. is big. |Very big.",
    "She holds a Ph.D. in physics. |He does not.",
    "It opens on Jan. 5 at noon. |Come early.",
    "Tell me. |I listen.",
    "Pi is 3.14 or so. |It costs $5.99. |Cheap.",
    "It was 98.6 degrees. |Then 1,000.5 more.",
    "We have 3. |They have 4. |Fine.",
    "It was in 2024. |We won.",
    "1. First\n|2. Second\n|3. Third",
    "1. First. |2. Second. |10. Tenth.",
    "**1. Bold.** |Text.",
    "- One item.\n|- Another item.\n",
    "See https://example.com/a.b?q=1.5&r=x! |Now.",
    "Is it www.example.com? |Yes.",
    "Mail jo.doe@example.co.uk today. |Thanks.",
    "Read file.txt and v1.2.3 now. |Done.",
    "Wait... what? |Yes.",
    "Wait... |What was that?",
    "... and then it rained. |Good.",
    "Well . . . maybe. |Yes.",
    "Wait… what? |Yes.",
    "Really?! |No way!!! |OK.",
    '"Stop!" he said. |She went.',
    'He said "Go." |She went.',
    "“Come in.” |She did.",
    "(He left.) |Then we ate.",
    "**Bold end.** |Next one.",
    "你好。|我是谁？|我们走！",
    "他说：“你好。”|然后走了。",
    "「おはよう。」と言った。|「はい！」|「え？」",
    "好的！！！|下一个。",
    "我住在3.5楼。|好。",
    "你好。 |Hello. |再见。",
    "Great! |😀 Next one.",
    "Great!😀 |Next one.",
    "太好了！😀|再见。",
    "Am Tag der 3. Oktober war. |Ja.",
    "Es ist der 3. Oktober. |Ja.",
    "Im 19. Jahrhundert war das so. |Ja.",
    "Das ist z.B. Wasser. |Ja.",
    "Quoi ? |Oui !",
    "One line\n|\nNext paragraph\n|",
    "Title\r\n|Text",
    "Line one\n|  indented",
    "That is funny. |[laugh] Really?",
    "A [sigh] in between. |Yes.",
    "What?\t|Yes.",
    "你好!|我是小明!|你呢?|我很好。",
    "すごい!!|とても。|「え!?」と言った。",
    "Yahoo!ニュースを見た。|Yes!はい。",
    "နေကောင်းလား။|ကောင်းပါတယ်။",
    "សួស្តី។| អ្នកសុខសប្បាយទេ។",
    "ផ្លែឈើ បន្លែ ។ល។| ល្អ។",
    "آپ کیسے ہیں؟| ٹھیک۔",
    "आप कैसे हैं।| मैं ठीक हूँ।",
    "no stop at all",
    "♨ hot. |Next ∯ one ȸ here. |☉ end.",
    "nul\0here. |Next.",
    "« Bonjour ! » dit-il. |« Oui. » répond-elle. |Non.",
    "Read [What is it? A guide](https://example.com/a) now. |[Really?] |Yes.",
    "Left [open. " + "It is a long way. " * 5 + "|It is a long way. |Yes.",
]


def sentences_of(pieces: Iterable[str], limits: TextLimits = SHORT) -> list[str]:
    splitter = SentenceSplitter(limits)
    return [sentence for piece in pieces for sentence in splitter.push(piece)] + splitter.flush()


def cut_at_random(text: str, seed: int) -> list[str]:
    chance = random.Random(seed)
    places = sorted({0, len(text), *(chance.randint(0, len(text)) for _ in range(chance.randint(0, 9)))})
    return [text[start:end] for start, end in pairwise(places)]


def expected(marked: str) -> tuple[str, list[str]]:
    return marked.replace("|", ""), [part for part in marked.split("|") if part]


@pytest.mark.parametrize("marked", HARD_TEXTS)
def test_a_hard_text_is_cut_where_a_reader_would(marked: str) -> None:
    text, sentences = expected(marked)
    assert [part.strip() for part in sentences_of([text], FULL)] == [part.strip() for part in sentences]


@pytest.mark.parametrize("marked", HARD_TEXTS)
def test_a_hard_text_is_cut_the_same_one_character_at_a_time(marked: str) -> None:
    text, _ = expected(marked)
    assert sentences_of(text, FULL) == sentences_of([text], FULL)


@pytest.mark.parametrize("marked", HARD_TEXTS)
def test_a_hard_text_is_cut_the_same_in_random_tokens(marked: str) -> None:
    text, _ = expected(marked)
    whole = sentences_of([text], FULL)
    assert all(sentences_of(cut_at_random(text, seed), FULL) == whole for seed in range(20))


@pytest.mark.parametrize(
    "text", ["Hello there. ", "Hi! ", "Really?\n", "It was in 2024. ", "A title\n", "Pears, etc.\n", "你好。我"]
)
def test_a_certain_end_is_not_delayed(text: str) -> None:
    assert len(SentenceSplitter().push(text)) == 1


@pytest.mark.parametrize(
    "text", ["Hello there.", "It is 3.", "All of it, etc. ", "Wait... ", '"Stop!" ', "你好。", "etc. W"]
)
def test_a_doubtful_end_waits_until_the_model_stalls(text: str) -> None:
    splitter = SentenceSplitter()
    assert splitter.push(text) == []
    assert splitter.is_doubtful
    assert splitter.idle() == [text[:-1] if text.endswith("W") else text]


@pytest.mark.parametrize("text", ["", "  ", "Hello there", "Hello, ", "I saw Dr.", "I saw Dr. ", "1.", "Hi. And then"])
def test_a_text_without_a_possible_end_is_not_doubtful(text: str) -> None:
    splitter = SentenceSplitter()
    splitter.push(text)
    assert not splitter.is_doubtful
    assert splitter.idle() == []


def test_a_decimal_in_three_tokens_stays_whole() -> None:
    assert sentences_of(["Pi is 3", ".", "14", ". ", "Good."], FULL) == ["Pi is 3.14. ", "Good."]


def test_look_ahead_ends_after_twelve_characters() -> None:
    splitter = SentenceSplitter()
    assert splitter.push("We like it etc. Supercalif") == []
    assert splitter.push("ragilistic") == ["We like it etc. "]


def test_pending_is_the_open_tail_with_its_white_space() -> None:
    splitter = SentenceSplitter()
    splitter.push("Done. \n And no")
    assert splitter.pending == "\n And no"


def test_flush_leaves_the_splitter_as_new() -> None:
    splitter = SentenceSplitter()
    assert splitter.push("Half a") == []
    assert splitter.flush() == ["Half a"]
    assert splitter.pending == ""
    assert splitter.flush() == []


def test_white_space_at_the_very_end_is_no_sentence() -> None:
    assert sentences_of(["Done. ", " \n\n "]) == ["Done. "]


def test_a_short_sentence_joins_the_next() -> None:
    assert join_short(["Oh no. ", "We go home now. ", "Yes."], first=False) == ["Oh no. We go home now. ", "Yes."]


def test_short_sentences_join_until_they_are_long_enough() -> None:
    assert join_short(["A. ", "B. ", "C. ", "D. "], first=False) == ["A. B. C. ", "D. "]


def test_the_first_sentence_of_an_answer_is_never_delayed_by_joining() -> None:
    assert join_short(["Hi! ", "Yes. ", "We go home now. "], first=True) == ["Hi! ", "Yes. We go home now. "]


def test_chinese_characters_count_as_words() -> None:
    assert join_short(["好。", "我们走吧。", "再见。"], first=False) == ["好。我们走吧。", "再见。"]


def test_joining_keeps_the_hard_limit() -> None:
    assert join_short(["Yes. ", "y" * 20], first=False, limits=SHORT) == ["Yes. ", "y" * 20]


def test_what_is_joined_may_reach_the_hard_limit() -> None:
    assert join_short(["Yes. ", "y" * 15], first=False, limits=SHORT) == ["Yes. " + "y" * 15]


def test_joining_nothing_gives_nothing() -> None:
    assert join_short([], first=True) == []


WORDS = "a We z. Sr. Ud. etc. no. U.S. Dr. 3. 12 14 p.m. I. ... [laugh] 字 と 字!字 ។ល។ 😀 \u0301 \u200d ∯ ȸ \0 x"
MARKS = '.…,;:!?。？」”«»)][—、*" \n\t\r'
pieces = st.sampled_from([*WORDS.split(), *MARKS, " ", " ", " "]) | st.characters()
texts = st.lists(pieces, max_size=60).map("".join)


@settings(max_examples=3 * settings.default.max_examples)
@given(texts, st.integers())
def test_sentences_do_not_depend_on_how_the_text_is_cut_into_tokens(text: str, seed: int) -> None:
    whole = sentences_of([text])
    assert sentences_of(text) == whole
    assert sentences_of(cut_at_random(text, seed)) == whole


@given(texts)
def test_nothing_is_lost_but_white_space_at_the_very_end(text: str) -> None:
    joined = "".join(sentences_of([text]))
    assert text.startswith(joined)
    assert not text[len(joined) :].strip()


def test_what_lies_beyond_a_cut_by_length_has_no_say_in_it() -> None:
    text = "bb…etc., aa, ! "
    assert sentences_of([text]) == sentences_of(text) == ["bb…etc., aa, ", "! "]


def test_a_word_without_an_end_is_cut_at_the_hard_limit() -> None:
    assert [len(part) for part in sentences_of(["x" * 50])] == [20, 20, 10]


@given(texts)
def test_no_sentence_is_longer_than_the_hard_limit(text: str) -> None:
    assert all(len(sentence.strip()) <= SHORT.sentence_hard_chars for sentence in sentences_of([text]))


@given(texts)
def test_no_sentence_is_white_space_only(text: str) -> None:
    assert all(sentence.strip() for sentence in sentences_of([text]))


@given(texts)
def test_idle_settles_every_doubt_and_loses_nothing(text: str) -> None:
    splitter = SentenceSplitter(SHORT)
    sentences = splitter.push(text) + splitter.idle()
    assert not splitter.is_doubtful
    assert "".join(sentences) + splitter.pending == text


@given(st.lists(texts), st.booleans())
def test_joining_keeps_every_character_and_the_order(sentences: list[str], first: bool) -> None:
    assert "".join(join_short(sentences, first)) == "".join(sentences)


@pytest.mark.parametrize(
    "pattern",
    [
        ".",
        "1. ",
        "etc. We ",
        "A. ",
        '"',
        'a." ',
        "[(",
        "a.[1",
        "\u0301",
        "👨\u200d",
        "\0",
        "∯ ȸ ♨ ☉ no. ",
        " ",
        "\n",
        "x",
    ],
    ids=lambda pattern: re.sub(r"\W", "_", ascii(pattern)),
)
def test_cost_grows_with_the_text_and_not_with_its_square(pattern: str) -> None:
    sentences_of(pattern * 100, FULL)  # pysbd compiles its expressions on first use
    short = (pattern * 1000)[:1000]
    assert costs_less(lambda: sentences_of(short * 16, FULL), 40, lambda: sentences_of(short, FULL))


def test_text_full_of_abbreviations_is_not_shown_to_pysbd_at_every_one(monkeypatch: pytest.MonkeyPatch) -> None:
    judge, shown = PysbdJudge.__call__, list[str]()

    def counted(self: PysbdJudge, before: str, ahead: str) -> bool | None:
        shown.append(before)
        return judge(self, before, ahead)

    monkeypatch.setattr(PysbdJudge, "__call__", counted)
    text = "etc. We " * 500
    sentences_of(text, FULL)
    assert 0 < len(shown) <= 1 + len(text) / FULL.judge_every_chars
