from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.terminal.tokens import parse_option, parse_options, read_text, split_pieces, split_tokens


@given(st.text())
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(split_tokens(text)) == text


@given(st.text(), st.integers(1, 50))
def test_pieces_joined_are_the_text_and_none_is_too_long(text: str, piece_chars: int) -> None:
    pieces = split_pieces(text, piece_chars)
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= piece_chars for piece in pieces)


def test_tokens_are_as_short_as_those_of_a_model() -> None:
    assert split_tokens("Hello there, wonderful.") == ["Hello", " there", ",", " wonder", "ful", "."]


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("x=0.5", 0.5),
        ("x=3", 3),
        ("x=-3", -3),
        ("x=1", 1),
        ("x=true", True),
        ("x=Yes", True),
        ("x=no", False),
        ("x=warm", "warm"),
        ("x=1.2.3", "1.2.3"),
        ("x=a=b", "a=b"),
        ("x=", ""),
        ("x", True),
    ],
)
def test_an_option_gets_the_type_it_looks_like(pair: str, value: object) -> None:
    key, parsed = parse_option(pair)
    assert (key, parsed, type(parsed)) == ("x", value, type(value))


def test_a_number_that_json_cannot_carry_stays_a_word() -> None:
    assert parse_option("x=1.0e999") == ("x", "1.0e999")


def test_an_option_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="key=value"):
        parse_option("=3")


def test_the_last_of_two_equal_options_counts() -> None:
    assert parse_options(["a=1", "b", "a=2"]) == {"a": 2, "b": True}


def test_a_dash_reads_standard_input() -> None:
    assert read_text("-", None, io.StringIO("from the pipe")) == "from the pipe"


def test_a_file_is_read_whatever_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "speech.txt").write_bytes("Grüße \xff".encode("latin-1"))
    assert read_text(None, tmp_path / "speech.txt", io.StringIO()) == "Gr��e �"


def test_bytes_of_the_shell_that_are_no_utf_8_do_not_reach_the_server() -> None:
    assert read_text("caf\udce9", None, io.StringIO()) == "caf?"


def test_nothing_named_is_no_text() -> None:
    assert read_text(None, None, io.StringIO("unread")) is None
