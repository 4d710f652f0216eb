"""Many clients at once: C2, C5, C6, C7, C8 of the fault list. Where memory counts, the gateway is a process apart."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
import websockets

from bench.outcomes import jain
from tests.harness import (
    FAST,
    TIMEOUT_S,
    ask,
    eventually,
    read_answer,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from tests.placement import needs_home
from tests.rawws import RawClient, text
from tests.server_process import server_process

pytestmark = pytest.mark.anyio

HELLO = "Hello there."
LONG = "This sentence goes on for a while and it is spoken again and again until nobody can bear it any more. "
SPOKEN = "One is enough. Two are better. Three make a crowd. Four play cards. Five are a hand. Six are a half dozen."
JITTER_S = 0.5  # what a busy machine may add; a client that waited for the others would wait for seconds
MIB = 2**20
BYTES_PER_S = 48_000
PATIENCE_S = 100.0  # 64 streams and their clients take all of two cores


async def _pauses(url: str) -> list[float]:
    """Seconds between the pieces of audio of one answer, from an address of its own."""
    came_at: list[float] = []
    async with websockets.connect(f"{url}/stream-tokens", local_addr=("127.0.0.2", 0)) as ws:
        await say(ws, {"token": SPOKEN, "done": True})
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                if isinstance(await asyncio.wait_for(ws.recv(), TIMEOUT_S), bytes):
                    came_at.append(time.monotonic())
    assert len(came_at) > 2, f"nothing to measure: closed with {ws.close_code} {ws.close_reason}"
    return [later - earlier for earlier, later in pairwise(came_at)]


def _p99(pauses: Sequence[float]) -> float:
    return float(np.percentile(pauses, 99))


async def test_c2_fifty_clients_that_do_not_read_delay_nobody_and_fill_no_memory(
    tone_python: Path, tmp_path: Path
) -> None:
    needs_home("it measures a machine that has no cluster beside it")
    with server_process(tmp_path, "--connections-per-address", "100", workers=4, speed_rtf=0.01, chunk_ms=50) as server:
        await asyncio.to_thread(server.wait_ready)
        alone = await _pauses(server.ws)
        gateway = psutil.Process(server.pid)
        base = gateway.memory_info().rss
        async with AsyncExitStack() as bad:
            for _ in range(50):
                raw = await bad.enter_async_context(RawClient(server.port, receive_buffer=4096))
                await raw.upgrade()
                await raw.send(*[text({"token": LONG * 30})] * 4, text({"done": True}))
            beside = await _pauses(server.ws)
            grown = gateway.memory_info().rss - base
    print(
        f"p99 {1000 * _p99(alone):.0f} ms alone, {1000 * _p99(beside):.0f} ms beside fifty; {grown / MIB:.0f} MiB more"
    )
    assert _p99(beside) < _p99(alone) + JITTER_S
    assert grown < 50 * 3 * MIB


async def test_c5_a_thousand_idle_connections_cost_little_and_delay_nobody(tone_python: Path, tmp_path: Path) -> None:
    needs_home("it measures a machine that has no cluster beside it")
    count = 1000
    with server_process(tmp_path, "--connections-per-address", "1010", speed_rtf=0.05, chunk_ms=50) as server:
        await asyncio.to_thread(server.wait_ready)
        alone = await _pauses(server.ws)
        gateway = psutil.Process(server.pid)
        base = gateway.memory_info().rss
        async with AsyncExitStack() as idle:
            began = time.monotonic()
            for _ in range(count):
                raw = await idle.enter_async_context(RawClient(server.port))
                assert (await raw.upgrade()).startswith("HTTP/1.1 101")
            took_s, each = time.monotonic() - began, (gateway.memory_info().rss - base) / count
            beside = await _pauses(server.ws)
    print(f"{took_s:.1f} s, {each / 1024:.0f} KiB each, p99 {1000 * _p99(alone):.0f} → {1000 * _p99(beside):.0f} ms")
    assert each < 48 * 1024
    assert _p99(beside) < _p99(alone) + JITTER_S


class _Listener:
    def __init__(self) -> None:
        self.audio = b""
        self._began_at = 0.0

    async def listen(self, url: str, spoken: str) -> None:
        async with websockets.connect(f"{url}/stream-tokens") as ws:
            await say(ws, {"token": spoken, "done": True})
            with contextlib.suppress(websockets.ConnectionClosed):
                while True:
                    got = await asyncio.wait_for(ws.recv(), PATIENCE_S)
                    if isinstance(got, bytes):
                        self._began_at = self._began_at or time.monotonic()
                        self.audio += got

    @property
    def share(self) -> float | None:
        """Of what it could have heard since it heard the first; None before."""
        heard_s = time.monotonic() - self._began_at
        return min(1.0, len(self.audio) / BYTES_PER_S / heard_s) if self.audio else None


@pytest.mark.release
async def test_c6_sixty_four_streams_on_four_workers_get_equal_shares(tone_python: Path) -> None:
    """What a listener is owed is its own time, not its part of the bytes: who is ahead waits for who is not."""
    sentences = [f"This is number {name} of them all." for name in "abcdefghij"]
    owed = tone_bytes(*sentences)
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=PATIENCE_S))
    config = tone_config(workers=4, speed_rtf=0.025, chunk_ms=200)
    async with running_server(config, tone_python, limits=limits) as server:
        listeners = [_Listener() for _ in range(64)]
        listening = [asyncio.create_task(one.listen(server.ws, " ".join(sentences))) for one in listeners]
        half = len(listeners) * len(owed) // 2
        await eventually(lambda: sum(len(one.audio) for one in listeners) >= half, "half of it is there", PATIENCE_S)
        shares = [one.share for one in listeners if one.share is not None]
        await asyncio.gather(*listening)
    print(f"Jain at half time: {jain(shares):.3f} of {len(shares)} who hear something")
    assert [one.audio == owed for one in listeners] == [True] * 64
    assert jain(shares) >= 0.95


async def test_c7_a_greedy_stream_makes_small_ones_wait_for_one_round_at_most(tone_python: Path) -> None:
    """While ten others are served, the greedy one gets less than a turn for each of them."""
    greedy_text = " ".join(f"Sentence {number} of very many." for number in range(200))
    config = tone_config(speed_rtf=0.05, chunk_ms=50)
    async with running_server(config, tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as greedy:
            for begin in range(0, len(greedy_text), 4000):
                await say(greedy, {"token": greedy_text[begin : begin + 4000]})
            heard: list[str] = []
            reading = asyncio.create_task(_note_turns(greedy, heard))
            await eventually(lambda: len(heard) >= 2, "the greedy one is served")
            before = len(heard)
            small = await asyncio.gather(*(ask(server.ws, {"token": HELLO, "done": True}) for _ in range(10)))
            turns = len(heard) - before
            reading.cancel()
    print(f"{turns} turns of the greedy one")
    assert [answer.audio for answer in small] == [tone_bytes(HELLO)] * 10
    assert turns <= 10


async def _note_turns(ws: websockets.ClientConnection, heard: list[str]) -> None:
    while True:
        got = await ws.recv()
        if isinstance(got, str) and '"generating"' in got:
            heard.append(got)


@asynccontextmanager
async def _full_house(tone_python: Path) -> AsyncIterator[tuple[int, websockets.ClientConnection]]:
    """The port of a server with two guests, which are all that it takes; and one of them."""
    limits = replace(FAST, stream=replace(FAST.stream, connections_per_address=2))
    async with running_server(tone_config(speed_rtf=1.0, chunk_ms=50), tone_python, limits=limits) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?keep_open=1") as first:
            async with websockets.connect(f"{server.ws}/stream-tokens"):
                yield server.port, first


async def test_c8_two_thousand_attempts_over_the_limit_are_refused_and_harm_nobody(tone_python: Path) -> None:
    async with _full_house(tone_python) as (port, inside):
        await say(inside, {"token": SPOKEN, "done": True})
        answering = asyncio.create_task(read_answer(inside))
        took_s: list[float] = []

        async def attempt() -> None:
            for _ in range(200):
                began = time.monotonic()
                async with RawClient(port) as raw:
                    head = await raw.upgrade()
                took_s.append(time.monotonic() - began)
                assert head.startswith("HTTP/1.1 503 ")
                assert "\r\nretry-after: 1\r\n" in head.lower()

        await asyncio.gather(*(attempt() for _ in range(10)))
        answer = await asyncio.wait_for(answering, 60)
    print(f"refused in {1000 * float(np.median(took_s)) / 10:.1f} ms (median, of each of ten at once)")
    assert len(took_s) == 2000
    assert answer.codes == []
    assert b"".join(answer.sentences[index] for index in sorted(answer.sentences)) == answer.audio
    assert answer.of_type("done")
