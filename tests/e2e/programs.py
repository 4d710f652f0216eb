"""Runs cli.py and client.py as a person does: in a process of their own, on pipes or on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness import TIMEOUT_S

HOME = Path(__file__).parents[2]
BACKGROUND = ("bash", "-mc", '"$@" & wait "$!"', "bash")


@dataclass(frozen=True, slots=True)
class Outcome:
    code: int
    out: str
    err: str


def environ(folder: Path) -> dict[str, str]:
    """A machine without PortAudio, and with its own history."""
    (folder / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    return {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{HOME}",
        "PYTHONUNBUFFERED": "1",
        "XDG_STATE_HOME": str(folder / "state"),
        "PROMPT_TOOLKIT_NO_CPR": "1",
        "TERM": "xterm",
    }


def program(script: str, *arguments: str, folder: Path, stdin: str | bytes = "") -> Outcome:
    command = [sys.executable, str(HOME / script), *arguments]
    given = stdin.encode() if isinstance(stdin, str) else stdin
    ended = subprocess.run(
        command, input=given, capture_output=True, cwd=folder, env=environ(folder), timeout=3 * TIMEOUT_S
    )
    return Outcome(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


class Terminal:
    """A program on a terminal, and somebody at the keyboard."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self._fd = fd
        self._process = process
        self._unread = ""

    def type(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def expect(self, text: str) -> str:
        """Reads on until the text is there, and returns what came up to it."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self._unread:
            assert time.monotonic() < deadline, f"{text!r} did not come; there is {self._unread!r}"
            if select.select([self._fd], [], [], 0.1)[0]:
                self._unread += os.read(self._fd, 65536).decode(errors="replace")
        before, found, self._unread = self._unread.partition(text)
        return before + found

    def expect_prompt(self) -> None:
        self.expect("\x1b[?2004h")  # prompt_toolkit asks for bracketed paste when it is ready for keys

    def leave(self) -> int:
        """Ctrl-D at the next prompt, and the exit code."""
        self.expect_prompt()
        self.type("\x04")
        return self.exit_code()

    def exit_code(self) -> int:
        deadline = time.monotonic() + TIMEOUT_S
        while self._process.poll() is None:
            assert time.monotonic() < deadline, "it did not leave"
            if select.select([self._fd], [], [], 0.05)[0]:
                self._read_last_words()
        return self._process.wait()

    def _read_last_words(self) -> None:
        try:
            os.read(self._fd, 65536)
        except OSError:
            return  # Linux says EIO when nobody holds the other end


@contextmanager
def terminal(script: str, *arguments: str, folder: Path, background: bool = False) -> Iterator[Terminal]:
    """`background`: as a shell runs it for `&`; the exit code is above 128 when it was stopped."""
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen(
        [*(BACKGROUND if background else ()), sys.executable, str(HOME / script), *arguments],
        stdin=screen,
        stdout=screen,
        stderr=screen,
        cwd=folder,
        env=environ(folder),
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(screen)
    try:
        yield Terminal(keyboard, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(keyboard)


def _take_terminal() -> None:
    """The first terminal that a session's leader opens sends it Ctrl-C."""
    os.close(os.open(os.ttyname(0), os.O_RDWR))
