"""Makes the recordings that the README shows: docs/media/terminal.gif and docs/media/page.gif.

    python docs/media/record.py [terminal] [page]

Both are what a person gets on this machine with the backend hibari, at its true pace. The page needs Playwright (the
dependency group `page`) and a Chromium.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

from PIL import Image
from screen import Cell, Painter, Screen, palette

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COLUMNS, ROWS = 100, 30
FPS = 10
TYPING_S = 0.025  # a key, as the command is typed
TOGETHER_S = 0.005  # between two pieces of one picture: a pseudo-terminal passes 4 KiB at a time
LAST_S = 2.5  # the end stays
COMMAND = ["cli.py", "--stream-tokens", "--play", "--backend", "hibari", "--text-file", "docs/media/answer.txt"]

Frames = list[tuple[Image.Image, float]]  # each with the seconds that it stays


def record_terminal(target: Path) -> None:
    seen = [*_typed(_shown()), *_sampled()]
    painter = Painter(COLUMNS, max(len(rows) for rows, _ in seen))
    save(target, [(painter.paint(rows), seconds) for rows, seconds in seen], palette())


def _shown() -> str:
    return shlex.join(["python", *COMMAND])


def _typed(command: str) -> Iterator[tuple[list[list[Cell]], float]]:
    """The command line as it grows."""
    for count in range(0, len(command) + 1, 4):
        screen = Screen(COLUMNS, ROWS)
        _prompt(screen, command[:count])
        yield screen.rows, 4 * TYPING_S if count < len(command) else 0.5


def _prompt(screen: Screen, command: str) -> None:
    screen.feed(f"\x1b[32m$\x1b[0m {command}")


def _sampled() -> Iterator[tuple[list[list[Cell]], float]]:
    """What one sees while it runs, FPS times a second."""
    screen = Screen(COLUMNS, ROWS)
    _prompt(screen, _shown())
    screen.feed("\r\n")
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _on_terminal([sys.executable, *COMMAND]) as terminal:
        while (read := _read_for(terminal, 1 / FPS)) is not None:
            screen.feed(decoder.decode(read))
            yield deepcopy(screen.rows), 1 / FPS
    yield screen.rows, LAST_S


@contextmanager
def _on_terminal(command: list[str]) -> Iterator[int]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    paths = os.pathsep.join([str(HERE / "loudspeaker"), str(ROOT)])
    environ = {**os.environ, "TERM": "xterm", "COLORTERM": "", "PYTHONPATH": paths}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environ)
    os.close(theirs)
    try:
        yield ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_for(terminal: int, seconds: float) -> bytes | None:
    """What comes in this time, and what belongs to its last piece; None when the program has ended."""
    until, read = time.monotonic() + seconds, b""
    while select.select([terminal], [], [], max(TOGETHER_S, until - time.monotonic()))[0]:
        try:
            read += os.read(terminal, 65536)
        except OSError:  # Linux says EIO when nobody holds the other end
            return read or None
    return read


def save(target: Path, frames: Frames, palette: Image.Image) -> None:
    """A GIF with one palette, so that only what changes between two frames takes space."""
    images, durations = list[Image.Image](), list[int]()
    for image, seconds in frames:
        small = image.quantize(palette=palette, dither=Image.Dither.NONE)
        if images and small.tobytes() == images[-1].tobytes():
            durations[-1] += round(seconds * 1000)
        else:
            images.append(small)
            durations.append(round(seconds * 1000))
    images[0].save(target, save_all=True, append_images=images[1:], duration=durations, loop=0, disposal=1)
    say(f"{target.relative_to(ROOT)}: {sum(durations) / 1000:.1f} s, {target.stat().st_size / 2**20:.2f} MB")


def record_page(target: Path) -> None:
    from browser import frames_of_page, palette_of  # noqa: PLC0415  the terminal is recorded without Playwright

    frames = frames_of_page(ROOT, (HERE / "answer.txt").read_text(), LAST_S)
    save(target, frames, palette_of(frames))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["terminal", "page"]
    if "terminal" in wanted:
        record_terminal(HERE / "terminal.gif")
    if "page" in wanted:
        record_page(HERE / "page.gif")
