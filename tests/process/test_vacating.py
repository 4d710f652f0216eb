"""A worker whose machine is to go: another one takes over, and nobody is cut off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.harness import FAST, NO_VOICES, eventually, tone_bytes, tone_config
from tests.process.pool_driver import HARDY_WORKER, Listener, only_slot, submit
from voice_server.assembly import build_pool, worker_specs
from voice_server.pool.launcher import Process
from voice_server.pool.outfit import Outfit
from voice_server.pool.process import Guardian
from voice_server.stream.backend import Backend
from voice_server.wire.messages import Done

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


class OneMachine:
    """Launches here, remembers whom, and may have no room for another one."""

    def __init__(self, guardian: Guardian) -> None:
        self.guardian = guardian
        self.processes: list[Process] = []
        self.has_room = asyncio.Event()
        self.has_room.set()

    async def launch(self, *args: Any) -> Process:
        await self.has_room.wait()
        self.processes.append(await self.guardian.launch(*args))
        return self.processes[-1]


@asynccontextmanager
async def one_worker(python: Path, **options: Any) -> AsyncIterator[tuple[Backend, OneMachine]]:
    config = tone_config(limits=HARDY_WORKER, **options)
    guardian = Guardian()
    machine = OneMachine(guardian)
    outfit = Outfit(tuple(worker_specs(config, python, 0, [])), config.bounds(0))
    pool = build_pool(config, outfit, replace(FAST, worker=HARDY_WORKER))
    pool.start(machine, asyncio.Semaphore(4), random.random)
    try:
        await pool.until_ready()
        yield Backend(config, pool, NO_VOICES), machine
    finally:
        await pool.stop()
        guardian.close()


async def test_a_worker_leaves_when_it_has_finished_and_another_one_has_come(tone_python: Path) -> None:
    async with one_worker(tone_python, speed_rtf=0.5) as (backend, machine):
        speaking = submit(backend, Listener())
        await eventually(lambda: bool(speaking.audio), "it speaks")
        (old,) = machine.processes
        for _ in range(3):  # it is said again and again
            backend.pool.vacate(old)
        await eventually(lambda: len(backend.pool.slots) == 1 and only_slot(backend).pid != old.pid, "it has left")
        assert isinstance(speaking.ending, Done) and speaking.audio == tone_bytes("Hello there.")
        assert [process.pid for process in machine.processes] == [old.pid, only_slot(backend).pid]


async def test_one_that_is_lost_before_there_is_room_elsewhere_is_not_started_again_beside_the_new_one(
    tone_python: Path,
) -> None:
    async with one_worker(tone_python) as (backend, machine):
        (old,) = machine.processes
        machine.has_room.clear()
        backend.pool.vacate(old)
        await eventually(lambda: len(backend.pool.slots) == 2, "another one is to come")
        old.kill()
        await eventually(lambda: len(backend.pool.slots) == 1, "the lost one is not waited for")
        machine.has_room.set()
        await eventually(lambda: only_slot(backend).state == "ready", "the new one is there")
        assert len(machine.processes) == 2
