"""The rules of the page's files: plain modules for a browser as they are, under a strict CSP, in two languages."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

STATIC = Path(__file__).parents[2] / "voice_server" / "gateway" / "static"
SCRIPTS = sorted(STATIC.rglob("*.js"))
LOCALES = sorted((STATIC / "locales").glob("*.json"))
MAX_LINES = 250
PARSE = """
const { SourceTextModule } = require("node:vm");
const { readFileSync } = require("node:fs");
for (const path of process.argv.slice(1)) {
  try { new SourceTextModule(readFileSync(path, "utf8")); } catch (e) { console.log(path, e.message); }
}
"""
FORBIDDEN = (  # the first four can run text as code; the CSP refuses the others, in silence
    r"\.(inner|outer)HTML\b",
    r"\binsertAdjacentHTML\b",
    r"\bdocument\.write\b",
    r"\beval\(|\bnew Function\(",
    r"\bsetAttribute\(\s*[\"']style[\"']",
    r"\bsetAttribute\(\s*[\"']on",
)


def name(path: Path) -> str:
    return str(path.relative_to(STATIC))


@pytest.mark.skipif(not shutil.which("node"), reason="no node here")
def test_every_script_is_a_module_without_syntax_errors() -> None:
    command = ["node", "--no-warnings", "--experimental-vm-modules", "-e", PARSE, *map(str, SCRIPTS)]
    assert subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_is_short_enough_to_be_read(script: Path) -> None:
    assert len(script.read_text().splitlines()) < MAX_LINES


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_turns_no_text_into_markup_or_code(script: Path) -> None:
    assert [rule for rule in FORBIDDEN if re.search(rule, script.read_text())] == []


def test_the_page_has_no_inline_script_style_or_handler() -> None:
    html = (STATIC / "index.html").read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == []


@pytest.mark.parametrize("path", [*SCRIPTS, *sorted(STATIC.rglob("*.css")), *sorted(STATIC.rglob("*.html"))], ids=name)
def test_a_file_loads_nothing_from_elsewhere_or_from_the_root(path: Path) -> None:
    """Addresses are relative, so that the page also works behind a proxy that puts it under a prefix."""
    found = re.findall(
        r"""(?:(?:src|href)=|url\(|from|import\(?|fetch\()\s*["'`]?((?:https?:)?/[^"'`)\s]*)""", path.read_text()
    )
    assert found == []


@pytest.mark.parametrize("locale", LOCALES, ids=name)
def test_languages_have_the_same_keys_with_the_same_blanks(locale: Path) -> None:
    english, other = json.loads((STATIC / "locales" / "en.json").read_text()), json.loads(locale.read_text())
    assert {key: blanks(text) for key, text in other.items()} == {key: blanks(text) for key, text in english.items()}


def blanks(text: str) -> set[str]:
    return set(re.findall(r"\{\w+\}", text))


def test_every_text_that_a_script_names_is_in_the_dictionary() -> None:
    keys = json.loads((STATIC / "locales" / "en.json").read_text())
    named = {
        key: name(path)
        for path in [*SCRIPTS, STATIC / "index.html"]
        for key in re.findall(r"""(?:\bt\(|data-i18n(?:-\w+)?=)["']([\w.-]+)["']""", path.read_text())
    }
    assert {key: path for key, path in named.items() if key not in keys} == {}
