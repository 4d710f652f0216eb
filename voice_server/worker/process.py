"""What a worker arranges with the operating system: to die with its gateway, to explain itself, to print safely."""

from __future__ import annotations

import ctypes
import faulthandler
import io
import os
import signal
import sys
from typing import NoReturn

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_STDERR = 2


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the gateway dies; call on the main thread.

    Only this ends a worker that is stopped or stuck in C code. It covers deaths from now on, hence the look at getppid.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        vanish()


def vanish() -> NoReturn:
    """Leave at once and take along whatever the engine has started: nobody is left to be told."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def leave(exit_code: int) -> NoReturn:
    """Exit without waiting for an engine's own threads and exit hooks."""
    for stream in (sys.stdout, sys.stderr):
        if not stream.closed:
            stream.flush()
    os._exit(exit_code)


def explain_on_request() -> None:
    """SIGUSR2 writes all stacks to stderr (the gateway asks before it kills a hung worker); a crash does the same."""
    faulthandler.enable(file=_STDERR)
    faulthandler.register(signal.SIGUSR2, file=_STDERR, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the gateway's to handle


def make_printing_safe() -> None:
    """No print() of an engine may fail for its encoding, or stay in a buffer when the process is killed."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
