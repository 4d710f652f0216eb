"""What is told about a voice: what a sidecar may say, and who has an alias or a backend's default."""

from __future__ import annotations

import json

import pytest

from voice_server.core.errors import BadSample
from voice_server.voices.sidecar import About, check_about, claims, read_about, write_about

FULL = About("de-AT", "Ada agreed on 2026-01-02.", "CC-BY-4.0", ("countess", "Zoë"), ("voxcpm",))


@pytest.mark.parametrize("about", [About(), FULL])
def test_what_is_written_is_read_again(about: About) -> None:
    assert read_about(write_about(about)) == about


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("language", "not a language"),
        ("language", "de\n"),
        ("consent", "x" * 201),
        ("consent", "two\nlines"),
        ("licence", 5),
        ("aliases", ["../etc"]),
        ("aliases", "countess"),
        ("aliases", [str(number) for number in range(17)]),
        ("default_of", [""]),
        ("default_of", ["a\u0000b"]),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(field: str, value: object) -> None:
    with pytest.raises(BadSample, match=field) as refusal:
        read_about(json.dumps({field: value}).encode())
    assert refusal.value.field == field


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"license": "typo"}', b'{"consent": "\xff"}', b"[" * 10_000])
def test_what_is_no_sidecar_is_refused_with_the_fields_that_there_are(content: bytes) -> None:
    with pytest.raises(BadSample, match="language, consent, licence, aliases, default_of"):
        read_about(content)


def test_values_from_a_client_are_checked_like_those_of_a_file() -> None:
    assert check_about(FULL) == FULL
    with pytest.raises(BadSample, match="aliases"):
        check_about(About(aliases=("CON",)))


def test_an_alias_is_of_the_voice_that_claims_it_first() -> None:
    aliases, _, refused = claims({"ada": About(aliases=("x",)), "bob": About(aliases=("x", "y"))})
    assert aliases == {"x": "ada", "y": "bob"}
    assert refused == {"bob": "it cannot have the alias x: ada has it; take it out of one of them"}


def test_the_name_of_a_voice_is_nobody_s_alias() -> None:
    aliases, _, refused = claims({"ada": About(aliases=("bob",)), "bob": About()})
    assert aliases == {}
    assert refused["ada"].startswith("it cannot have the alias bob: a voice is called so")


def test_a_backend_has_one_default() -> None:
    _, defaults, refused = claims({"ada": About(default_of=("tone", "voxcpm")), "bob": About(default_of=("voxcpm",))})
    assert defaults == {"tone": "ada", "voxcpm": "ada"}
    assert "the place as default of voxcpm: ada has it" in refused["bob"]
