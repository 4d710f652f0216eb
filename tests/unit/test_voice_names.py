from __future__ import annotations

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voice_server.core.errors import UnknownVoice
from voice_server.core.voice_names import is_voice_name, resolve

HOSTILE = [
    "../x",
    "..%2f",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "nul\0",
    "CON",
    "con.wav",
    "lpt1",
    "trailing.",
    "trailing ",
    " leading",
    "x" * 300,
    unicodedata.normalize("NFD", "é"),
    "-leading",
    ".hidden",
    "",
    "a\nb",
    "a:b",
    "C:",
    "~",
    "$HOME",
    "a*",
    "\u202eevil",
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_f1_a_name_with_a_meaning_to_a_file_system_is_no_voice_name(name):
    assert not is_voice_name(name)


@pytest.mark.parametrize("name", ["heart", "af_heart", "en_US-joe-medium", "zf_001", "Claribel Dervla", "a+b", "v1.2"])
def test_the_names_engines_use_are_voice_names(name):
    assert is_voice_name(name)


@pytest.mark.parametrize("name", ["李雷", "Åsa", "हिन्दी", "_private"])
def test_any_script_may_name_a_voice(name):
    assert is_voice_name(name)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first run builds a table of all of Unicode
@given(st.text())
def test_f1_no_voice_name_holds_a_separator_or_a_control_character(name):
    if is_voice_name(name):
        assert not any(char in '/\\:*?"<>|%\0' or not char.isprintable() for char in name)


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
def test_f1_a_hostile_name_is_an_unknown_voice(name):
    with pytest.raises(UnknownVoice) as caught:
        resolve(name, ["heart"], {})
    assert caught.value.code == "unknown_voice" and name not in caught.value.message


def test_a_known_voice_is_itself():
    assert resolve("b", ["a", "b"], {}) == "b"


def test_no_name_is_the_first_voice():
    assert resolve("", ["a", "b"], {}) == "a"


def test_an_alias_is_the_voice_it_points_to():
    assert resolve("alloy", ["heart"], {"alloy": "heart"}) == "heart"


def test_a_voice_goes_before_an_alias_of_the_same_name():
    assert resolve("b", ["a", "b"], {"b": "a"}) == "b"


def test_an_alias_of_a_voice_that_is_gone_is_unknown():
    with pytest.raises(UnknownVoice):
        resolve("alloy", ["heart"], {"alloy": "gone"})


def test_an_alias_of_an_alias_is_unknown():
    with pytest.raises(UnknownVoice):
        resolve("a", ["heart"], {"a": "b", "b": "heart"})


def test_the_refusal_lists_a_few_voices_that_would_do():
    with pytest.raises(UnknownVoice) as caught:
        resolve("nobody", [f"v{number}" for number in range(100)], {})
    assert "'nobody'" in caught.value.message
    assert "v0, v1" in caught.value.message and "and 92 more" in caught.value.message


def test_a_backend_without_voices_has_no_default():
    with pytest.raises(UnknownVoice, match="has none"):
        resolve("", [], {})


@pytest.mark.parametrize(
    ("name", "voice"),
    [
        ("a(2)+b(1)", "a(2)+b(1)"),
        ("a+b", "a+b"),
        ("a(0.5)+b", "a(0.5)+b"),
        ("alloy(2)+b", "a(2)+b"),
        ("a", "a"),
        ("a+", "plus"),
        ("+".join("a" * 8), "+".join("a" * 8)),
    ],
)
def test_a_blend_is_a_voice_where_the_engine_blends(name, voice):
    assert resolve(name, ["a", "b", "plus"], {"alloy": "a", "a+": "plus"}, blends=True) == voice


@pytest.mark.parametrize("name", ["a+c", "a(2)+", "+a", "a(-1)+b", "a(99999)+b", "a()+b", "a(1)(2)", "+".join("a" * 9)])
def test_what_is_no_blend_of_known_voices_is_no_voice(name):
    with pytest.raises(UnknownVoice):
        resolve(name, ["a", "b"], {}, blends=True)


def test_an_engine_that_cannot_blend_knows_no_blends():
    with pytest.raises(UnknownVoice):
        resolve("a(2)+b(1)", ["a", "b"], {})
