"""The words of the page: none is missing for an error, and none is there for nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from voice_server.core import errors
from voice_server.core.errors import VoiceError

STATIC = Path(errors.__file__).parents[1] / "gateway" / "static"
WORDS: dict[str, str] = json.loads((STATIC / "locales" / "en.json").read_text())
SOURCES = "\n".join(path.read_text() for path in (*sorted(STATIC.rglob("*.js")), STATIC / "index.html"))
OF_THE_PAGE = set(re.findall(r'\bcode: "(\w+)"', SOURCES))
# Keys that no source spells out, by what they begin with: errors have codes, and backends have options of their own.
BY_NAME = ("problem.", "option.")


def codes() -> set[str]:
    """Of what the server tells; a terminal has errors of its own, which no page hears of."""
    return {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VoiceError)}


@pytest.mark.parametrize("code", sorted(codes() | OF_THE_PAGE))
def test_every_error_says_what_happened_and_what_to_do(code: str) -> None:
    assert WORDS[f"problem.{code}"]
    assert WORDS[f"problem.{code}.next"]


def test_every_word_is_used() -> None:
    spelled = set(re.findall(r"""["'`]([\w-]+(?:\.[\w-]+)+)["'`]""", SOURCES))
    patterns = [
        re.compile(pattern) for pattern in map(_pattern, re.findall(r"`([\w-]+\.[^`\s]*\$\{[^`\s]*)`", SOURCES))
    ]
    unused = [key for key in WORDS if key not in spelled and not any(one.fullmatch(key) for one in patterns)]
    assert [key for key in unused if not key.startswith(BY_NAME)] == []


def _pattern(template: str) -> str:
    """Of a template such as `tiles.${name}.help`."""
    return r"[\w.-]+".join(re.escape(part) for part in re.split(r"\$\{[^}]*\}", template))
