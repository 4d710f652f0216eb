"""The seam between a worker and where its process lives: all that the pool knows of a process, and of who starts it.

A `Guardian` launches processes on this machine; whoever launches them elsewhere makes them look the same.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from voice_server.pool.process import Command, Exit


class Process(Protocol):
    """A worker's process. Whoever launched it is told once that it has ended, on the event loop."""

    @property
    def pid(self) -> int:
        """On its own machine."""

    @property
    def host(self) -> str:
        """The name of its machine; "" is this one."""

    @property
    def socket(self) -> socket.socket:
        """Our end of the connection that its frames travel on."""

    def kill(self) -> None:
        """End it and all that it has started, stopped or not."""

    def dump_stack(self) -> None:
        """Ask it to write its Python stacks to its log."""


class Launcher(Protocol):
    async def launch(
        self,
        command: Command,
        on_log: Callable[[bytes], None],
        on_exit: Callable[[Exit], None],
        on_stage: Callable[[str], None],
    ) -> Process:
        """`on_stage` is told, in words, what a launch that takes long is waiting for.

        Raises OSError when there is nothing to execute. Who is cancelled here leaves no process behind.
        """
