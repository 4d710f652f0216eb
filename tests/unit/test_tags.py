"""Tags in a text: performed by engines that understand them, never spoken as words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.text.tags import understood_only

TEXTS = {  # for an engine that understands laugh and clear throat
    "Ha [laugh] ha.": ("Ha [laugh] ha.", ()),
    "[LAUGH] Ha.": ("[laugh] Ha.", ()),
    "[ clear throat ] So.": ("[clear throat] So.", ()),
    "Well [sigh] yes.": ("Well yes.", ("sigh",)),
    "[cough] Sorry [sneeze]!": ("Sorry!", ("cough", "sneeze")),
    "Oh[sigh]dear": ("Oh dear", ("sigh",)),
    "[sigh]": ("", ("sigh",)),
    "[sigh].": ("", ("sigh",)),
    "[laugh]": ("[laugh]", ()),
    "[sigh [cough]] no": ("no", ("cough", "sigh")),
    "As in [1] and [see below].": ("As in [1] and [see below].", ()),
    "I laugh, you [laughed].": ("I laugh, you [laughed].", ()),
    "laugh sigh": ("laugh sigh", ()),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.items(), ids=str)
def test_an_engine_gets_the_tags_that_it_understands(text: str, expected: tuple[str, tuple[str, ...]]) -> None:
    assert understood_only(text, ("laugh", "clear throat")) == expected


def test_a_backend_may_list_a_tag_of_its_own() -> None:
    assert understood_only("So [whistle] what [laugh]", ("Whistle",)) == ("So [Whistle] what", ("laugh",))


def test_a_name_that_is_no_pattern_is_taken_literally() -> None:
    assert understood_only("[a.b] [axb] c", ("a.b",)) == ("[a.b] [axb] c", ())


@given(st.lists(st.sampled_from(["[", "]", "sigh", "laugh", " ", "a", ".", "[sigh]"]), max_size=30).map("".join))
def test_no_tag_that_is_not_understood_is_left(text: str) -> None:
    left, _ = understood_only(text, ("laugh",))
    assert "[sigh]" not in left
    assert understood_only(left, ("laugh",)) == (left, ())
