"""Tokens: the table and its mistakes, that nothing else compares them, and that a file may change."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import voice_server
from voice_server.core import tokens
from voice_server.core.limits import AccessLimits
from voice_server.core.tokens import BadTokens, KnownToken
from voice_server.gateway.access.files import Watch
from voice_server.gateway.access.tokens import TokenFile, Tokens
from voice_server.terminal.making_tokens import make_token

LIMITS = replace(AccessLimits(), look_s=0.0)
HEX = "a" * 64
COMPARES = Path("core/tokens.py")  # the one module that may


def test_a_table_names_the_owner_of_a_key_and_of_no_other() -> None:
    known = tokens.parse(f"# ours\n\n{tokens.line('ada', 'one')}  # her phone\n{tokens.line('bob', 'two')}\n", LIMITS)
    assert [tokens.owner([key], known) for key in ("one", "two", "three", "")] == ["ada", "bob", None, None]
    assert tokens.owner(["wrong", "two"], known) == "bob"


def test_a_token_is_replaced_while_the_old_one_is_in_use() -> None:
    known = tokens.parse(f"{tokens.line('ada', 'old')}\n{tokens.line('ada', 'new')}", LIMITS)
    assert {tokens.owner([key], known) for key in ("old", "new")} == {"ada"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "no token in it"),
        ("# ada sha256:" + HEX, "no token in it"),
        ("ada", "line 1"),
        (f"ada sha256:{HEX}\nada secret-word", "line 2"),
        (f"ada sha256:{HEX[:-1]}", "line 1"),
        (f"ada sha256:{HEX}0", "line 1"),
        (f"ada sha512:{HEX}", "line 1"),
        (f"ada sha256:{HEX} more", "line 1"),
        (f"127.0.0.1 sha256:{HEX}", "line 1: a name is a letter"),
        (f"fe80::1 sha256:{HEX}", "line 1: a name is a letter"),
        (f"{'a' * 65} sha256:{HEX}", "line 1: a name is a letter"),
        (f"ada sha256:{HEX}\n" * (LIMITS.tokens + 1), "more than 1000"),
    ],
)
def test_a_wrong_table_says_where_it_is_wrong_and_not_what_stands_there(table: str, says: str) -> None:
    with pytest.raises(BadTokens, match=says) as told:
        tokens.parse(table, LIMITS)
    assert "secret-word" not in str(told.value)


@given(st.text())
def test_a_table_is_read_or_refused(table: str) -> None:
    try:
        known = tokens.parse(table, LIMITS)
    except BadTokens:
        return
    assert all(len(token.digest) == 32 for token in known)


@given(st.lists(st.characters(codec="utf-8").map(str), min_size=1).map("".join))
def test_a1_keys_of_any_letters_are_compared_as_bytes(key: str) -> None:
    known = (KnownToken("ada", tokens.digest(key)),)
    assert tokens.owner([key], known) == "ada"
    assert tokens.owner([key + "é"], known) is None


def test_a1_nothing_but_one_module_compares_tokens() -> None:
    root = Path(voice_server.__file__).parent
    found = {
        f"{path.relative_to(root)}:{node.lineno}"
        for path in root.rglob("*.py")
        if path.relative_to(root) != COMPARES
        for node in _comparisons_of_tokens(ast.parse(path.read_text()))
    }
    assert found == set()
    digests = list(_comparisons(ast.parse((root / COMPARES).read_text()), lambda name: "digest" in name))
    assert digests == [], "a digest is compared by hmac.compare_digest"


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("key == self._token", True),
        ("given.token in known", True),
        ("hmac.compare_digest(a, b)", True),
        ("message.token is not None", False),
        ("if message.token: pass", False),
        ("len(message.token) > most", False),
    ],
)
def test_a1_a_comparison_would_be_found(line: str, is_one: bool) -> None:
    assert bool(list(_comparisons_of_tokens(ast.parse(line)))) == is_one


def _comparisons_of_tokens(tree: ast.AST) -> Iterator[ast.expr]:
    """Of what is called a secret, by `==` or `in`, or at all by hmac."""
    secrets = ("_token", "token", "api_key", "xi_api_key", "secret", "password")
    yield from _comparisons(tree, secrets.__contains__)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "compare_digest":
            yield node


def _comparisons(tree: ast.AST, is_meant: Callable[[str], bool]) -> Iterator[ast.Compare]:
    by_content = (ast.Eq, ast.NotEq, ast.In, ast.NotIn)
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Compare)
            and any(isinstance(how, by_content) for how in node.ops)
            and any(is_meant(_name(side)) for side in (node.left, *node.comparators))
        ):
            yield node


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


# The file


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(tokens.line("ada", "one") + "\n")
    return path


def test_a_token_that_is_added_opens_and_one_that_is_taken_out_does_not_any_more(table: Path) -> None:
    known = Tokens(file=TokenFile(table, LIMITS))
    table.write_text(tokens.line("bob", "two"))
    assert [known.owner("one"), known.owner("two")] == [None, "bob"]


@pytest.mark.parametrize(
    "spoil", [lambda path: path.write_text("ada"), lambda path: path.write_bytes(b"\xff"), Path.unlink]
)
def test_a_file_that_becomes_wrong_changes_nothing_and_is_told_once(
    table: Path, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    known = Tokens(file=TokenFile(table, LIMITS))
    spoil(table)
    assert [known.owner("one") for _ in range(3)] == ["ada"] * 3
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "from before" in caplog.text


def test_a_server_does_not_start_without_its_file(tmp_path: Path) -> None:
    with pytest.raises(BadTokens, match="nowhere: No such file"):
        TokenFile(tmp_path / "nowhere")


def test_a_file_of_any_size_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "endless").symlink_to("/dev/zero")
    with pytest.raises(BadTokens, match="more than 262144 bytes"):
        TokenFile(tmp_path / "endless")


def test_a_file_is_looked_at_once_in_a_while(table: Path) -> None:
    now = [0.0]
    watch = Watch(table, every_s=1.0, clock=lambda: now[0])
    table.write_text("something else")
    assert not watch.has_changed()
    now[0] = 1.0
    assert watch.has_changed()
    assert not watch.has_changed()


def test_the_token_of_the_environment_goes_beside_the_file_and_has_no_name(table: Path) -> None:
    known = Tokens("zero", TokenFile(table))
    assert [known.owner("zero"), known.owner("one")] == ["", "ada"]
    assert known.are_wanted and not Tokens().are_wanted


def test_a_made_token_opens_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_token("ada") == 0
    said = capsys.readouterr()
    token = said.err.split()[-1]
    (tmp_path / "tokens").write_text(said.out)
    assert Tokens(file=TokenFile(tmp_path / "tokens")).owner(token) == "ada"
    assert token not in said.out and len(token) >= 43


def test_a_token_is_for_somebody_with_a_plain_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadTokens, match="a name is a letter"):
        make_token("two words")
    assert capsys.readouterr() == ("", "")
