"""What each client did, for docs/compatibility.md.

    COMPAT_ROWS=rows uv run --group compat pytest -m compat && uv run python -m tests.compat.report rows

Each pytest process notes its rows in a file in the folder COMPAT_ROWS, if that is set. This module takes them into
docs/compatibility.json, where the rows of a test file replace all earlier ones of that file, and writes the page.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
ROWS = DOCS / "compatibility.json"
PAGE = DOCS / "compatibility.md"
WORKS = "works"

_HEAD = """# Compatibility

Clients of other projects, unchanged, against a running server with the backends `tone`, `hibari` and `pitch`. This page
is generated from what the tests saw: `COMPAT_ROWS=rows uv run --group compat pytest -m compat`, then
`uv run python -m tests.compat.report rows`.

| client | version | what was run | result | test |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, order=True)
class Row:
    client: str
    what: str
    version: str
    result: str  # "works", or the kind of error
    test: str  # the file in tests/compat
    seconds: float


class RowFile:
    """The rows of one pytest process, on disk after each one: a run that is killed has told what it saw."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(to_json(self._rows))


class Report:
    """Notes what a block of a test does with a client."""

    def __init__(self, rows: RowFile, test: str) -> None:
        self._rows = rows
        self._test = test

    @contextmanager
    def __call__(self, client: str, version: str, what: str) -> Iterator[None]:
        begin, result = time.monotonic(), "fails"
        try:
            yield
            result = WORKS
        except BaseException as error:
            result = f"fails: {type(error).__name__}"
            raise
        finally:
            self._rows.add(Row(client, what, version, result, self._test, round(time.monotonic() - begin, 2)))


def to_json(rows: Iterable[Row]) -> str:
    """One row a line: a change is one line of a diff."""
    lines = ",\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in sorted(set(rows)))
    return f"[\n{lines}\n]\n"


def from_json(text: str) -> list[Row]:
    return [Row(**row) for row in json.loads(text)]


def merge(known: Iterable[Row], seen: Iterable[Row]) -> list[Row]:
    """`seen`, and those known rows whose test file was not run. A client that fails once fails."""
    by_key: dict[tuple[str, str, str], Row] = {}
    for row in seen:
        key = (row.test, row.client, row.what)
        if key not in by_key or by_key[key].result == WORKS:
            by_key[key] = row
    ran = {row.test for row in by_key.values()}
    return [*(row for row in known if row.test not in ran), *by_key.values()]


def page(rows: Iterable[Row]) -> str:
    return _HEAD + "".join(
        f"| {_cell(client)} | {_cell(version)} | {_cell(row.what)} | {_cell(row.result)} | `{_cell(row.test)}` |\n"
        for (client, version), of_client in groupby(sorted(rows), lambda row: (row.client, row.version))
        for row in of_client
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(folder: Path) -> None:
    seen = [row for path in sorted(folder.glob("*.json")) for row in from_json(path.read_text())]
    known = from_json(ROWS.read_text()) if ROWS.exists() else []
    rows = merge(known, seen)
    ROWS.write_text(to_json(rows))
    PAGE.write_text(page(rows))
    print(f"{len(seen)} rows seen, {len(rows)} in {PAGE.name}; {sum(row.result != WORKS for row in rows)} fail")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
