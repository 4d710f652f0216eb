"""The keyboard while something is spoken: Ctrl-C stops the speech, and no key is drawn over the view."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

if sys.platform != "win32":
    import termios


@contextmanager
def ctrl_c_sets(event: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C sets the event; the second does what it did before."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)

    def on_sigint(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        loop.call_soon_threadsafe(event.set)

    signal.signal(signal.SIGINT, on_sigint)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def no_echo() -> Iterator[None]:
    """Keys are kept for whoever reads next; an echoed `^C` would shift the lines that a live view redraws."""
    if sys.platform == "win32" or not _is_ours():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = before[:]
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        if _is_ours():  # else its shell has taken it back, and made it as it was
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _is_ours() -> bool:
    """There is a keyboard, and we may set it: who does that in the background of a shell is stopped for it."""
    if not sys.stdin.isatty():
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return True  # of another session than ours: nobody is in its background
