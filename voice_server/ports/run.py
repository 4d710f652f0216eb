"""The life of a port: from its first packet to its exit code, whatever ends it.

Promises: the end of the conversation, SIGTERM and SIGINT end it at once, also while something loads or renders. What
cannot start, and a packet that cannot be read, is told to the peer before that.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from voice_server.config import ConfigError
from voice_server.core.doors.limits import PortLimits
from voice_server.core.errors import BackendUnavailable, BadMessage, VoiceError
from voice_server.ports.stdio import Pipes
from voice_server.venvs import VenvBuildFailed

EX_OK, EX_FAILED, EX_DATAERR = 0, 1, 65  # the last one of sysexits.h

Engine = TypeVar("Engine")


@dataclass(frozen=True, slots=True)
class Port(Generic[Engine]):
    """One protocol. `fail` may answer requests with the problem for ever: it is ended like `serve`."""

    serve: Callable[[Pipes, Engine], Awaitable[None]]  # until the peer says goodbye
    fail: Callable[[Pipes, VoiceError], Awaitable[None]]
    encode_error: Callable[[VoiceError], bytes]


async def run_port(
    pipes: Pipes, port: Port[Engine], engine: AbstractAsyncContextManager[Engine], limits: PortLimits
) -> int:
    """The exit code. `engine` is ready to work once it is entered."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, pipes.over.set)
    working = asyncio.create_task(_work(pipes, port, engine))
    ending = asyncio.create_task(pipes.over.wait())
    await asyncio.wait([working, ending], return_when=asyncio.FIRST_COMPLETED)
    if pipes.problem:
        pipes.send(port.encode_error(BadMessage(str(pipes.problem))))
    ending.cancel()
    working.cancel()
    await asyncio.wait([working], timeout=limits.farewell_s)
    await pipes.close()
    if pipes.problem:
        return EX_DATAERR
    return working.result() if working.done() and not working.cancelled() else EX_OK


async def _work(pipes: Pipes, port: Port[Engine], engine: AbstractAsyncContextManager[Engine]) -> int:
    """Until goodbye. Ended from outside when the engine cannot start, and there is somebody to tell it to."""
    try:
        async with engine as ready:
            await port.serve(pipes, ready)
            return EX_OK
    except (VoiceError, VenvBuildFailed, ConfigError) as problem:
        error = problem if isinstance(problem, VoiceError) else BackendUnavailable(str(problem))
        with suppress(asyncio.CancelledError):
            await port.fail(pipes, error)
        return problem.exit_code if isinstance(problem, ConfigError) else EX_FAILED
