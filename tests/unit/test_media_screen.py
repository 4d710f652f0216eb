"""The terminal of the recordings, docs/media/screen.py: what rich writes must look as it does on a real one."""

from __future__ import annotations

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

import pytest
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

MEDIA = Path(__file__).parents[2] / "docs" / "media"
MIB = 2**20


@pytest.fixture(scope="module")
def screen() -> ModuleType:
    spec = importlib.util.spec_from_file_location("media_screen", MEDIA / "screen.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def seen(screen: ModuleType, *written: str, columns: int = 20, height: int = 10) -> list[str]:
    terminal = screen.Screen(columns, height)
    for text in written:
        terminal.feed(text)
    return ["".join(char for char, _ in row).rstrip() for row in terminal.rows]


def test_a_panel_that_is_drawn_again_takes_the_place_of_the_last_one(screen: ModuleType) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=20, height=10, legacy_windows=False)
    with Live(console=console, auto_refresh=False) as live:
        for text in ("one", "one\ntwo", "end"):
            live.update(Panel(Text(text)), refresh=True)
    lines = seen(screen, out.getvalue().replace("\n", "\r\n"))
    assert [line.strip("│ ") for line in lines if line.startswith("│")] == ["end"]


def test_a_sequence_that_is_read_in_two_pieces_is_one(screen: ModuleType) -> None:
    assert seen(screen, "abc\x1b[", "2Kdef\r", "\x1b", "[1A") == ["   def"]


def test_a_line_goes_on_in_the_next_row_at_the_edge(screen: ModuleType) -> None:
    assert seen(screen, "abcdef", columns=4) == ["abcd", "ef"]


def test_what_leaves_the_top_is_gone(screen: ModuleType) -> None:
    assert seen(screen, "1\r\n2\r\n3", height=2) == ["2", "3"]


def test_colours_hold_until_they_are_reset(screen: ModuleType) -> None:
    terminal = screen.Screen(20, 10)
    terminal.feed("\x1b[1;32mg\x1b[0mn")
    (_, green), (_, normal) = terminal.rows[0]
    assert (green.ink, green.bold) == (screen.COLOURS[2], True)
    assert (normal.ink, normal.bold) == (screen.TEXT, False)


def test_text_is_painted_where_it_stands(screen: ModuleType) -> None:
    terminal = screen.Screen(20, 2)
    terminal.feed("\r\n  x")
    box = screen.Painter(20, 2).paint(terminal.rows).point(lambda level: max(0, level - 60)).getbbox()
    assert box[0] > screen.MARGIN_PX and box[1] > screen.MARGIN_PX + screen.FONT_PX


def test_the_recordings_stay_small(screen: ModuleType) -> None:
    recordings = list(MEDIA.glob("*.gif"))
    assert {path.name for path in recordings} == {"page.gif", "terminal.gif"}
    assert sum(path.stat().st_size for path in recordings) < 2 * MIB
