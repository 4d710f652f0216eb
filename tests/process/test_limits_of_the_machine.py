"""G5: no file descriptors left, no process to be had: a real gateway refuses the new, keeps the old, recovers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import websockets

from tests.harness import (
    TIMEOUT_S,
    ask,
    eventually,
    read_answer,
    running_pool,
    say,
    tone_bytes,
    tone_config,
    wait_until,
)
from tests.server_process import ServerProcess, server_process

pytestmark = pytest.mark.usefixtures("no_leaks")

TEXT = "This sentence is spoken at the pace of a person, so that others come in its middle."
FEW = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")  # file descriptors
CROWD = 100


@contextlib.asynccontextmanager
async def crowd(server: ServerProcess, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Connections that say nothing."""
    pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(count)]
    try:
        yield [writer for _, writer in pairs]
    finally:
        for _, writer in pairs:
            writer.close()
        for _, writer in pairs:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def open_fds(pid: int) -> int:
    return psutil.Process(pid).num_fds()


async def listener_in_a_crowd(server: ServerProcess) -> bytes:
    async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
        await say(ws, {"token": TEXT, "done": True})
        await read_answer(ws, until="generating")
        async with crowd(server, CROWD):
            return (await read_answer(ws)).audio


def test_g5_who_is_there_is_heard_out_while_no_descriptor_is_left(tmp_path: Path) -> None:
    with server_process(tmp_path, by=FEW, speed_rtf=0.5) as server:
        server.wait_ready()
        assert asyncio.run(listener_in_a_crowd(server)) == tone_bytes(TEXT)
        assert asyncio.run(ask(server.ws, {"token": TEXT, "done": True})).audio == tone_bytes(TEXT)
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def test_g5_sockets_beyond_the_descriptors_are_refused_with_a_reason(tmp_path: Path) -> None:
    async def knock(server: ServerProcess) -> list[int]:
        refused = []
        async with contextlib.AsyncExitStack() as inside:
            for _ in range(CROWD):
                try:
                    await inside.enter_async_context(websockets.connect(f"{server.ws}/stream-tokens"))
                except websockets.InvalidStatus as problem:
                    refused.append(problem.response.status_code)
        return refused

    with server_process(tmp_path, "--connections-per-address", "1000", by=FEW) as server:
        server.wait_ready()
        refused = asyncio.run(knock(server))
        assert refused and set(refused) == {503}
        assert len(refused) < CROWD
        assert "out of system resource" not in server.stderr
        assert asyncio.run(ask(server.ws, {"token": TEXT, "done": True})).audio == tone_bytes(TEXT)


@pytest.mark.parametrize("is_tight", [True, False], ids=["nothing", "too few to start a process"])
def test_g5_a_worker_that_dies_while_no_descriptor_is_left_is_replaced_later(tmp_path: Path, is_tight: bool) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        fds, limit = open_fds(server.pid), resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        few = 3 if is_tight else max(int(fd) for fd in os.listdir(f"/proc/{server.pid}/fd")) + 1
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (few, limit[1]))
        for worker in server.workers():
            worker.kill()
        wait_until(lambda: "cannot be started" in server.stderr, "the reason is told")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limit)
        server.wait_ready()
        wait_until(lambda: open_fds(server.pid) <= fds, "no descriptor is lost")
        assert len(server.workers()) == 1


@pytest.mark.anyio
async def test_g5_a_fork_that_is_refused_is_tried_again(tone_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = 2
    real = subprocess.Popen

    def forks(argv: list[str], *given: Any, **options: Any) -> subprocess.Popen[bytes]:
        nonlocal refusals
        if "bootstrap.py" in "".join(argv) and refusals:
            refusals -= 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return real(argv, *given, **options)

    monkeypatch.setattr(subprocess, "Popen", forks)
    async with running_pool(tone_config(), tone_python, wait=False) as backend:
        await eventually(lambda: "temporarily unavailable" in backend.pool.problem, "the reason is told")
        await asyncio.wait_for(backend.pool.until_ready(), TIMEOUT_S)
        assert backend.pool.slots[0].restarts == 2
