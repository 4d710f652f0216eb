"""Lines between a client and us that are slow, broken, or silent: C3 of the fault list, and what the proxy can do."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from tests.fault_proxy import FaultProxy, fault_proxy
from tests.harness import FAST, TIMEOUT_S, RunningServer, ask, eventually, running_server, say, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

LONG = "This sentence goes on for a while and it is spoken again and again until nobody can bear it any more. "
TEXT = "Hello there. How are you today?"
CHUNK_S = 0.05
SOON_S = 0.15  # until the worker is free, as a median: three chunks
LISTENER = f"""
import json, sys
from websockets.sync.client import connect
ws = connect(sys.argv[1] + "/stream-tokens")
ws.send(json.dumps({{"token": {LONG!r}, "flush": True}}))
while not isinstance(ws.recv(), bytes):
    pass
print("hears", flush=True)
ws.recv()
sys.stdin.read()
"""


async def _hearing(server: RunningServer) -> websockets.ClientConnection:
    """A client that has heard the beginning of a long sentence."""
    ws = await websockets.connect(f"{server.ws}/stream-tokens")
    await say(ws, {"token": LONG, "flush": True})
    while not isinstance(await ws.recv(), bytes):
        pass
    return ws


async def _say_goodbye(server: RunningServer) -> None:
    ws = await _hearing(server)
    closing = asyncio.create_task(ws.close())
    await asyncio.sleep(0)  # the close frame is on its way
    await asyncio.wait([closing])


async def _drop(server: RunningServer) -> None:
    (await _hearing(server)).transport.abort()


async def _reset(server: RunningServer) -> None:
    ws = await _hearing(server)
    client = ws.transport.get_extra_info("socket")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.transport.abort()


async def _kill(server: RunningServer) -> None:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-c", LISTENER, server.ws)
    client = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert client.stdout
    assert await client.stdout.readline() == b"hears\n"
    client.kill()
    await client.communicate()


Leave = Callable[[RunningServer], Awaitable[None]]
WAYS: dict[str, tuple[Leave, int]] = {
    "close": (_say_goodbye, 20),
    "drop": (_drop, 20),
    "reset": (_reset, 20),
    "kill": (_kill, 3),
}


async def _freed_after(server: RunningServer, leave: Leave) -> float:
    await leave(server)
    began = time.monotonic()
    await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free")
    return time.monotonic() - began


@pytest.mark.parametrize("way", WAYS)
async def test_c3_a_client_that_vanishes_frees_its_worker_within_a_chunk(tone_python: Path, way: str) -> None:
    leave, times = WAYS[way]
    await _check_freed(tone_python, leave, times)


@pytest.mark.release
@pytest.mark.parametrize("way", WAYS)
async def test_c3_two_hundred_clients_that_vanish_free_their_worker(tone_python: Path, way: str) -> None:
    leave, times = WAYS[way]
    await _check_freed(tone_python, leave, 10 * times)


async def _check_freed(tone_python: Path, leave: Leave, times: int) -> None:
    async with running_server(tone_config(speed_rtf=1.0, chunk_ms=int(1000 * CHUNK_S)), tone_python) as server:
        freed_s = sorted([await _freed_after(server, leave) for _ in range(times)])
    print(f"freed after {1000 * freed_s[times // 2]:.0f} ms (median), {1000 * freed_s[-1]:.0f} ms (max)")
    assert freed_s[times // 2] < SOON_S


async def test_c3_a_client_whose_line_falls_silent_is_given_up(tone_python: Path) -> None:
    """Nothing says that it is gone: its kernel still takes what it can, so the missing pong has to tell."""
    limits = replace(FAST, stream=replace(FAST.stream, ping_s=0.5))
    async with running_server(tone_config(), tone_python, limits=limits) as server, fault_proxy(server.port) as proxy:
        async with websockets.connect(f"ws://127.0.0.1:{proxy.port}/stream-tokens", ping_interval=None) as ws:
            await say(ws, {"token": TEXT})
            await ws.recv()
            assert server.house.guests
            proxy.blackhole()
            await eventually(lambda: not server.house.guests, "the guest is given up")
            proxy.reset()


@pytest.mark.parametrize("what", ["reset", "half_close"])
async def test_c3_a_line_that_breaks_midway_frees_the_worker(tone_python: Path, what: str) -> None:
    slow = tone_config(speed_rtf=1.0, chunk_ms=50)
    async with running_server(slow, tone_python) as server, fault_proxy(server.port) as proxy:
        ws = await websockets.connect(f"ws://127.0.0.1:{proxy.port}/stream-tokens")
        await say(ws, {"token": LONG, "flush": True})
        while not isinstance(await ws.recv(), bytes):
            pass
        getattr(proxy, what)()
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free")
        ws.transport.abort()


def _dribble(proxy: FaultProxy) -> None:
    proxy.slice_bytes = 1


def _delay(proxy: FaultProxy) -> None:
    proxy.delay_s = 0.05


def _throttle(proxy: FaultProxy) -> None:
    proxy.bytes_per_s = 200_000


@pytest.mark.parametrize("spoil", [_dribble, _delay, _throttle], ids=["a byte per packet", "late", "slow"])
async def test_a_bad_line_changes_no_byte(tone_python: Path, spoil: Callable[[FaultProxy], None]) -> None:
    short = tone_config(seconds_per_char=0.005)
    async with running_server(short, tone_python) as server, fault_proxy(server.port) as proxy:
        spoil(proxy)
        answer = await asyncio.wait_for(
            ask(f"ws://127.0.0.1:{proxy.port}", {"token": TEXT, "done": True}), 3 * TIMEOUT_S
        )
    assert answer.audio == tone_bytes("Hello there.", "How are you today?", seconds_per_char=0.005)
    assert answer.messages[-1] == json.loads('{"type": "done"}')
