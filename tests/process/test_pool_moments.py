"""Moments that a pool of real processes comes to rarely: only the operating system and the clock are played."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.harness import eventually
from tests.process.pool_driver import Listener
from tests.process.test_supervisor_machine import LONG_S, READY, PlayedProcess, World
from tests.process.virtual_time import VirtualTimeLoop
from voice_server.core.audio.pcm import byte_count
from voice_server.core.limits import Limits, WorkerLimits
from voice_server.pool.dispatcher import Dispatcher
from voice_server.pool.outfit import Outfit
from voice_server.pool.pool import Pool
from voice_server.pool.process import Command
from voice_server.pool.supervisor import WorkerSpec
from voice_server.wire.messages import PROTOCOL_VERSION, Audio, Done, Hello, Load, LoadFailed

pytestmark = pytest.mark.anyio

LIMITS = replace(Limits(), stream=replace(Limits().stream, look_s=10 * LONG_S))  # time alone is not looked at
RATE, SAID_S = 8_000, 3.0
HELLO = Hello(PROTOCOL_VERSION, 1, "3.11")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": VirtualTimeLoop}


@asynccontextmanager
async def played_pool() -> AsyncIterator[tuple[Pool[Dispatcher], World]]:
    """Of one worker with several seats."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    world = World(loop)
    world.are_mute, world.handshake = False, replace(READY, sample_rate=RATE, capacity=4)
    spec = WorkerSpec("slot-0", Command((), {}), Load("", "cpu", {}, ""), WorkerLimits())
    pool = Pool("played", Outfit((spec,)), Dispatcher(LIMITS.stream), LIMITS.scaling)
    pool.start(world, asyncio.Semaphore(4), random.random)
    try:
        yield pool, world
    finally:
        await pool.stop()
        assert not world.alive


async def one_may_start(pool: Pool[Dispatcher], process: PlayedProcess) -> tuple[Listener, Listener]:
    """A sentence that is being rendered, and another one that was not urgent enough to be put beside it, but is now."""
    desk = pool.dispatcher
    speaking, others = desk.open_stream(live=True, client="a"), desk.open_stream(live=True, client="b")
    first, waiting, beside = Listener(), Listener(), Listener()
    desk.submit(speaking, 0, first)
    desk.submit(others, 0, beside)
    process.say(Audio(1, 0, bytes(byte_count(SAID_S, RATE))), Done(1, 1))
    await eventually(lambda: isinstance(first.ending, Done), "it is said")
    desk.delivered(speaking, SAID_S, 0.0)
    desk.submit(speaking, 1, waiting)
    await asyncio.sleep(SAID_S - LIMITS.stream.near_s / 2)
    assert beside.worker and not waiting.worker
    return beside, waiting


async def test_what_waits_for_a_worker_that_dies_is_given_to_the_next_one() -> None:
    async with played_pool() as (pool, world):
        await pool.until_ready()
        beside, waiting = await one_may_start(pool, world.processes[0])
        world.processes[0].exit(-9)
        assert isinstance(beside.ending, str), "its end was told"
        assert not waiting.worker, "nobody is there to take it"
        await eventually(lambda: bool(waiting.worker), "the next one takes it")
        assert pool.slots[0].open_renders == 1


async def test_a_pool_that_stops_gives_its_worker_nothing_more() -> None:
    async with played_pool() as (pool, world):
        await pool.until_ready()
        _, waiting = await one_may_start(pool, world.processes[0])
        await pool.stop()
        assert not waiting.worker


async def test_a_worker_that_gets_ready_beside_its_successor_stays_until_that_one_is_loaded() -> None:
    async with played_pool() as (pool, world):
        await pool.until_ready()
        world.are_mute = True
        world.processes[0].exit(-9)
        await eventually(lambda: pool.slots[0].state == "loading", "it is loaded again")
        roll = pool.restart()
        await eventually(lambda: len(world.alive) == 2, "its successor is loaded beside it")
        old, new = world.alive
        old.say(HELLO, world.handshake)
        await eventually(lambda: pool.is_ready, "it is at work")
        new.say(HELLO, LoadFailed("there is no memory", retryable=True))
        await eventually(lambda: not roll.is_running, "the restart has ended")
        assert roll.status.state == "failed"
        assert [slot.pid for slot in pool.slots if slot.state == "ready"] == [old.pid]
