"""What each stop leaves in doubt, and how pysbd is guarded."""

from __future__ import annotations

import pytest

from tests.cost import costs_less
from voice_server.core.text.abbreviations import Doubt, PysbdJudge, doubt_about, ends_before_word
from voice_server.core.text.sentences import SentenceSplitter


def doubt_of(text: str, stop: str = ".") -> Doubt:
    return doubt_about(text + stop, len(text), len(text + stop))


def has_no_opinion(before: str, ahead: str) -> bool | None:
    return None


@pytest.mark.parametrize("text", ["We go", "Tell me", "in 2024", "It costs $5", "It is 3.14", "See example.com", "好"])
def test_an_ordinary_word_ends_its_sentence(text: str) -> None:
    assert doubt_of(text) is Doubt.NONE


@pytest.mark.parametrize("text", ["Dr", "I saw (Mrs", "fruit, e.g", "das ist z.B", "1", "12", "**3", "- 4", "a", "iv"])
def test_a_title_or_a_list_marker_never_ends_a_sentence(text: str) -> None:
    assert doubt_of(text) is Doubt.NEVER_ENDS


@pytest.mark.parametrize(
    "text", ["apples, etc", "room no", "the U.S", "at 5 p.m", "plan B", "der 3", "in Me", "a Ph.D"]
)
def test_an_abbreviation_a_number_or_an_initial_waits_for_the_next_word(text: str) -> None:
    assert doubt_of(text) is Doubt.NEXT_WORD


@pytest.mark.parametrize("stop", ["...", "…", '."', ".)", '!"', "?”"])
def test_an_ellipsis_or_a_closing_quote_waits_for_the_next_character(stop: str) -> None:
    assert doubt_of("We wait", stop) is Doubt.NEXT_CHARACTER


@pytest.mark.parametrize("stop", ["!", "?", "?!", "!!!", "...?"])
def test_an_exclamation_or_a_question_ends_also_after_an_abbreviation(stop: str) -> None:
    assert doubt_of("Is it etc", stop) is Doubt.NONE


@pytest.mark.parametrize(
    ("before", "ahead", "ends"),
    [
        ("pears, etc", " We ", True),
        ("pears, etc", " and ", False),
        ("room no", " 5 ", False),
        ("the U.S", " The ", True),
        ("the U.S", " Army ", False),
        ("der 3", " Oktober ", False),
    ],
)
def test_simple_rules_stand_in_for_a_judge_without_an_opinion(before: str, ahead: str, ends: bool) -> None:
    assert ends_before_word(before, ".", ahead, has_no_opinion) is ends


# "|" marks the cuts.
@pytest.mark.parametrize(
    "marked",
    [
        "El Sr. García y la Sra. López, con la Srta. Vega, llegan. |Bien.",
        "John Smith Sr. |He was old.",
        "Ud. tiene razón. |Gracias a Ud. |Hasta luego.",
        "Vea la pág. 12 y el núm. 5. |Bien.",
        "Los EE. UU. desde ayer. |En EE. UU. |Pero no.",
        "O Sr. Silva e a Dra. Maria. |Bom.",
        "Il Sig. Rossi e il Dott. Bianchi. |Bene.",
        "Das ist z. B. Äpfel, d. h. immer Obst. |Ja.",
        "Dus bijv. Amsterdam van mevr. Jansen. |Ja.",
        "Miasto np. Warszawa. |Tak.",
        "Это ул. Ленина. |Да.",
        "Solve for x. |A proof follows.",
    ],
)
def test_a_title_or_an_abbreviation_of_another_language_is_not_cut_from_what_it_belongs_to(marked: str) -> None:
    sentences = marked.split("|")
    for pieces in ["".join(sentences)], list("".join(sentences)):
        splitter = SentenceSplitter()
        assert [sentence for piece in pieces for sentence in splitter.push(piece)] + splitter.flush() == sentences


@pytest.mark.parametrize(("before", "ends"), [("The answer is no.", True), ("We met J.", False)])
def test_pysbd_judges_by_the_text_around_the_stop(before: str, ends: bool) -> None:
    assert PysbdJudge(window_chars=60)(before, " We ") is ends


@pytest.mark.parametrize("placeholder", "∯ȸ☉")
def test_pysbd_has_no_opinion_where_it_changes_the_text(placeholder: str) -> None:
    assert PysbdJudge(window_chars=60)(f"One {placeholder} two etc.", " We ") is None


def test_pysbd_never_sees_the_digits_after_a_bracket_that_take_it_exponential_time() -> None:
    judge = PysbdJudge(window_chars=60)
    # unguarded every digit doubles it
    assert costs_less(lambda: judge("a.[" + "1" * 30 + " etc.", " We "), 40, lambda: judge("a.[1 etc.", " We "))
