from __future__ import annotations

import pytest

from voice_server.core.limits import TextLimits
from voice_server.core.text.descriptions import take_description

LONGEST = "a" * TextLimits().description_chars


def test_a_description_is_taken_off_the_text_it_begins() -> None:
    assert take_description(" (calm elderly man) Good evening.") == ("calm elderly man", "Good evening.")


def test_its_blanks_do_not_count() -> None:
    assert take_description("( calm )Hello.") == ("calm", "Hello.")


def test_it_has_a_longest_length() -> None:
    assert take_description(f"({LONGEST}) Hello.").description == LONGEST
    assert take_description(f"({LONGEST}a) Hello.").description == ""


@pytest.mark.parametrize(
    "text", ["Hello (there).", "(laughs)", "(laughs) …", "() Hello.", "( ) Hello.", "((a) b) Hi.", ""]
)
def test_other_parentheses_stay_in_the_text(text: str) -> None:
    assert take_description(text) == ("", text)
