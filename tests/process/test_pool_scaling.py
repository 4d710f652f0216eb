"""A pool whose number of workers follows what is asked of it, with real workers; minutes are a second here."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.harness import (
    FAST,
    Answer,
    RunningServer,
    ask,
    eventually,
    read_answer,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from tests.process.hearing_driver import Client, beeps, listening, pitch_config, words
from tests.process.pool_driver import LOAD_S, PATIENT, first_audio, named, pid_of
from voice_server.core.limits import ScalingLimits
from voice_server.core.settings import BackendConfig, Bounds
from voice_server.core.text.hearing import HearingDone
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

QUICK = ScalingLimits(look_s=0.05, busy_s=0.5, short_s=1.0, calm_s=1.0)
SLOW_TO_SHRINK = replace(QUICK, calm_s=600.0)
LIMITS = replace(FAST, scaling=QUICK, stream=replace(FAST.stream, queue_wait_s=LOAD_S))
GROWING = replace(LIMITS, scaling=SLOW_TO_SHRINK)
CROWD = 8  # listeners: more than a worker is believed to carry before its speed is known
SENTENCES = ("The first sentence of this answer.", "Another one that follows it.")


def elastic(least: int, most: int, **options: Any) -> BackendConfig:
    return replace(tone_config(limits=PATIENT, speed_rtf=0.3, **options), workers=Bounds(least, most))


def gated(gate: Path, **options: Any) -> BackendConfig:
    """While `gate` is there, who is started does not get on with loading."""
    return elastic(1, 3, load_fault=f"while={gate};hang", **options)


async def are_ready(backend: Backend | Recogniser, number: int) -> None:
    """And nobody else is there."""

    def so_many() -> bool:
        return len(named(backend, "ready")) == number == len(backend.pool.slots)

    await eventually(so_many, f"{number} workers are ready, and no others are there", LOAD_S)


def text(listener: int) -> list[str]:
    return [f"{listener}: {sentence}" for sentence in SENTENCES]


async def listen(server: RunningServer, listener: int) -> Answer:
    return await ask(server.ws, {"token": " ".join(text(listener)), "done": True})


def crowd(server: RunningServer) -> list[asyncio.Task[Answer]]:
    return [asyncio.create_task(listen(server, listener)) for listener in range(CROWD)]


async def is_heard(listening: list[asyncio.Task[Answer]]) -> None:
    """Every byte, by everyone."""
    for listener, answer in enumerate(await asyncio.gather(*listening)):
        assert answer.codes == []
        assert answer.audio == tone_bytes(*text(listener))


async def test_workers_come_with_the_listeners_and_leave_after_them(tone_python: Path) -> None:
    async with running_server(elastic(1, 3), tone_python, limits=LIMITS) as server:
        listening = crowd(server)
        await eventually(lambda: len(server.backend.pool.slots) == 3, "two more are opened")
        await is_heard(listening)
        await are_ready(server.backend, 1)
        assert (await listen(server, 0)).audio == tone_bytes(*text(0))
        scaler = server.backend.pool.scaler
        assert scaler.decisions["up"] == 1
        assert scaler.decisions["down"] in (1, 2)


async def test_a_number_that_is_fixed_stays_whatever_is_asked(tone_python: Path) -> None:
    async with running_server(tone_config(limits=PATIENT, speed_rtf=0.1), tone_python, limits=LIMITS) as server:
        await is_heard(crowd(server))
        assert len(server.backend.pool.slots) == 1
        assert server.backend.pool.scaler.last is None


async def test_a_decision_is_a_line_in_the_log_and_stays_to_be_seen(
    tone_python: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with running_server(elastic(1, 3), tone_python, limits=GROWING) as server:
        await is_heard(crowd(server))
        await are_ready(server.backend, 3)
        (line,) = [record.message for record in caplog.records if record.name == "voice_server.pool.scaler"]
        scaling = server.house.status.backends[0].scaling
        assert scaling
        assert scaling.last
        assert (scaling.workers, scaling.min, scaling.max, scaling.ups, scaling.downs) == (3, 1, 3, 1, 0)
        assert line == f"tone: 1 -> 3 workers: {scaling.last.reason}"
        assert scaling.last.reason.endswith("waited in line")
        assert 0 <= scaling.last.age_s < server.house.status.uptime_s
        metrics = server.house.metrics.text().decode()
    assert 'voice_workers_min{backend="tone"} 1.0' in metrics
    assert 'voice_workers_max{backend="tone"} 3.0' in metrics
    assert 'voice_scalings_total{backend="tone",direction="up"} 1.0' in metrics


async def test_workers_that_are_killed_while_the_pool_grows_cost_nobody_a_byte(tone_python: Path) -> None:
    async with running_server(elastic(1, 3), tone_python, limits=GROWING) as server:
        listening = crowd(server)
        await eventually(lambda: len(named(server.backend, "loading")) == 2, "two more are being loaded")
        for worker in [*named(server.backend, "loading"), *named(server.backend, "ready")]:
            os.kill(pid_of(server.backend, worker), signal.SIGKILL)
        await is_heard(listening)
        await are_ready(server.backend, 3)


async def test_a_stop_in_the_middle_of_growth_leaves_nothing(tone_python: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running_server(gated(gate), tone_python, limits=GROWING) as server:
        gate.touch()
        listening = crowd(server)
        await eventually(lambda: len(named(server.backend, "loading")) == 2, "two more are being loaded")
        for listener in listening:
            listener.cancel()
        await asyncio.wait(listening)


async def test_a_stop_while_workers_leave_leaves_nothing(tone_python: Path) -> None:
    async with running_server(elastic(1, 3), tone_python, limits=LIMITS) as server:
        await is_heard(crowd(server))
        await eventually(lambda: bool(named(server.backend, "leaving")), "one leaves", LOAD_S)


async def test_who_is_still_loading_when_nobody_needs_it_any_more_leaves_first(
    tone_python: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with running_server(gated(gate), tone_python, limits=LIMITS) as server:
        gate.touch()
        pid = pid_of(server.backend, "tone-0")
        await is_heard(crowd(server))
        await are_ready(server.backend, 1)
        assert pid_of(server.backend, "tone-0") == pid
        assert server.backend.pool.scaler.decisions["up"] == 1


async def test_a_spare_goes_to_work_as_soon_as_another_worker_is_wanted(tone_python: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    config = replace(gated(gate), spares=1, workers=Bounds(1, 2))
    async with running_server(config, tone_python, limits=LIMITS) as server:
        await eventually(lambda: len(named(server.backend, "spare")) == 1, "the spare is loaded", LOAD_S)
        loaded = named(server.backend, "ready", "spare")
        gate.touch()
        listening = crowd(server)
        await eventually(lambda: named(server.backend, "ready") == loaded, "both are at work")
        gate.unlink()
        await is_heard(listening)

        def is_as_before() -> bool:
            return (len(named(server.backend, "ready")), len(named(server.backend, "spare"))) == (1, 1)

        await eventually(is_as_before, "one is at work again, and one is the spare", LOAD_S)
        await eventually(lambda: len(server.backend.pool.slots) == 2, "nobody else is there")
        assert (await listen(server, 1)).audio == tone_bytes(*text(1))


async def test_a_restart_covers_the_workers_that_are_there(tone_python: Path) -> None:
    async with running_server(elastic(1, 4), tone_python, limits=GROWING) as server:
        pool = server.backend.pool
        pool.grow(1)
        await are_ready(server.backend, 2)
        before = {slot.pid for slot in pool.slots}
        roll = pool.restart()
        assert await roll.ended()
        assert (roll.status.replaced, roll.status.workers) == (2, 2)
        await are_ready(server.backend, 2)
        assert not before & {slot.pid for slot in pool.slots}


async def test_the_number_stays_while_a_restart_replaces_the_workers(tone_python: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running_server(gated(gate), tone_python, limits=GROWING) as server:
        gate.touch()
        roll = server.backend.pool.restart()
        listening = crowd(server)
        await eventually(lambda: server.backend.pool.load.waiting > 0, "somebody waits")
        assert named(server.backend, "loading") == ["tone-0b"]
        assert server.backend.pool.scaler.last is None
        gate.unlink()
        assert await roll.ended()
        await is_heard(listening)


async def test_nobody_leaves_who_has_something_open(tone_python: Path) -> None:
    slow = replace(elastic(1, 2), options={"speed_rtf": 2.0})
    async with running_server(slow, tone_python, limits=GROWING) as server:
        pool = server.backend.pool
        pool.grow(1)
        await are_ready(server.backend, 2)
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": SENTENCES[0], "done": True})
            heard = await first_audio(ws)
            speaking = [slot.name for slot in pool.slots if slot.open_renders]
            pool.shrink(2)
            assert named(server.backend, "ready") == speaking
            answer = await read_answer(ws)
        assert heard + answer.audio == tone_bytes(SENTENCES[0])


async def test_a_pool_that_listens_grows_with_those_who_wait_to_be_heard(tone_python: Path) -> None:
    config = replace(pitch_config(limits=PATIENT), workers=Bounds(1, 2))
    async with listening(tone_python, config, LIMITS) as recogniser:
        first, second = Client(recogniser), Client(recogniser)
        first.hearing.hear(beeps(440))
        said = await second.say(beeps(880))
        assert isinstance(said, HearingDone)
        assert said.text == words(880)
        await first.say(beeps(440))
        await are_ready(recogniser, 1)
