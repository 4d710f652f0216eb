"""docs/reliability.md names a test for every numbered fault, and the tests are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FAULTS = {"W": 18, "C": 9, "I": 6, "F": 8, "A": 7, "G": 8}
ROWS = [f"{kind}{number}" for kind, count in FAULTS.items() for number in range(1, count + 1)]
_ROW = re.compile(r"^\| (\w\d+(?:, \w\d+)*) \|")


def rows() -> Iterator[tuple[str, list[Path]]]:
    """Each fault with the files that its row links, or the row above it where that says "the same"."""
    for page in ("reliability.md", "security.md"):
        linked: list[Path] = []
        for line in (DOCS / page).read_text().splitlines():
            if found := _ROW.match(line):
                named = [(DOCS / link).resolve() for link in re.findall(r"\]\((\.\./tests/[^)]+)\)", line)]
                linked = named + (linked if line.rstrip(" |").endswith(("the same", "the same (release tier)")) else [])
                yield from ((fault, linked) for fault in found[1].split(", "))


TESTED = dict(rows())


def test_every_fault_has_its_row() -> None:
    assert [fault for fault in ROWS if fault not in TESTED] == []


@pytest.mark.parametrize("fault", ROWS)
def test_a_test_of_the_fault_is_in_a_file_that_its_row_links(fault: str) -> None:
    files = [file for path in TESTED[fault] for file in (path.glob("test_*.py") if path.is_dir() else [path])]
    assert any(f"def test_{fault.lower()}_" in file.read_text() for file in files)
