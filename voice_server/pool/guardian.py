"""Outlives the gateway by a moment and takes its workers along. Run as a script; imports nothing of ours.

A worker asks the kernel to die with its parent, but its own children do not, and they may be all over a GPU. The
guardian reads "+PGID" and "-PGID" lines from a pipe that only the gateway holds open; at its end — a clean exit, a
crash, kill -9 — it kills every process group that is still on its list, stopped ones included.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def guard(pipe_fd: int) -> None:
    groups: set[int] = set()
    with os.fdopen(pipe_fd) as lines:
        for line in lines:
            group = int(line)
            groups.add(group) if group > 0 else groups.discard(-group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    guard(int(sys.argv[1]))
