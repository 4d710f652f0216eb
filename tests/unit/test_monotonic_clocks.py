"""G7: a clock that is set, by a person or by NTP, has no effect: what decides anything looks at monotonic time only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "voice_server"
ROOMS = ("core", "pool", "stream", "worker", "wire")
WALL = {"time": {"time", "time_ns", "localtime", "gmtime", "ctime", "strftime"}, "datetime": {"now", "utcnow", "today"}}
WALL["date"] = WALL["datetime"]


def wall_clocks(source: str) -> Iterator[int]:
    """The lines that ask what time it is."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if node.attr in WALL.get(owner, ()):
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (node.lineno for name in node.names if name.name in WALL["time"])


@pytest.mark.parametrize("room", ROOMS)
def test_g7_nothing_asks_what_time_it_is(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    assert [f"{path.name}:{line}" for path in files for line in wall_clocks(path.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.time()",
        "from time import time\n",
        "datetime.now()",
        "datetime.datetime.now(tz)",
        "date.today()",
    ],
)
def test_g7_every_way_to_ask_is_seen(source: str) -> None:
    assert list(wall_clocks(source))


def test_g7_monotonic_clocks_are_welcome() -> None:
    assert not list(wall_clocks("import time\ntime.monotonic()\nloop.time()\nself._loop.time()\n"))
