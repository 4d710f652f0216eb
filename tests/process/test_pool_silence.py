"""Workers that fall silent: stopped, hung, or only busy. Who is dead is replaced, who is busy is left alone."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from tests.harness import (
    FAST,
    FAST_WORKER,
    ask,
    eventually,
    read_answer,
    running_pool,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from tests.process.pool_driver import all_ready, first_audio, only_slot, resumes, start_of_render
from tests.process.worker_driver import is_gone
from voice_server.assembly import build_pool, worker_specs
from voice_server.pool.outfit import Outfit
from voice_server.pool.process import Guardian

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "Who falls silent is replaced."


async def test_w4_a_stopped_idle_worker_is_replaced(tone_python: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running_pool(tone_config(), tone_python) as backend:
        pid = only_slot(backend).pid
        os.kill(pid, signal.SIGSTOP)
        await all_ready(backend, without=pid, timeout_s=5.0)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert "did not answer pings" in caplog.text


async def test_w4_a_stopped_busy_worker_is_replaced_and_its_sentence_goes_on(
    tone_python: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_server(tone_config(speed_rtf=0.2), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": TEXT, "done": True})
            pid = await start_of_render(ws, server)
            heard = await first_audio(ws)
            os.kill(pid, signal.SIGSTOP)
            rest = await read_answer(ws)
        await all_ready(server.backend, without=pid)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert heard + rest.audio == tone_bytes(TEXT)
    assert resumes(rest) == 1
    assert "stopped producing audio" in caplog.text


async def test_w4_a_worker_stopped_while_it_loads_is_replaced(
    tone_python: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tone_config(
        limits=replace(FAST_WORKER, load_s=1.5), load_fault=f"once={tmp_path}/struck;hang", record=f"{tmp_path}/starts"
    )
    async with running_pool(config, tone_python, wait=False) as backend:
        await eventually((tmp_path / "struck").exists, "the first worker loads")
        pid = only_slot(backend).pid
        os.kill(pid, signal.SIGSTOP)
        await all_ready(backend, without=pid)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    assert "did not load in time" in caplog.text


async def test_w4_a_worker_that_wakes_up_after_it_was_given_up_is_not_heard(tone_python: Path) -> None:
    limits = replace(FAST_WORKER, dump_s=1.0)  # so long it may speak before it is killed
    async with running_server(tone_config(limits=limits, speed_rtf=0.2), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": TEXT, "done": True})
            pid = await start_of_render(ws, server)
            heard = await first_audio(ws)
            os.kill(pid, signal.SIGSTOP)
            await eventually(lambda: only_slot(server.backend).state == "restarting", "it is given up")
            os.kill(pid, signal.SIGCONT)
            rest = await read_answer(ws)
    assert heard + rest.audio == tone_bytes(TEXT)
    assert resumes(rest) == 1


async def test_w4_the_stack_of_a_hung_worker_is_in_the_log(
    tone_python: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "voice_server.worker")
    config = tone_config(limits=replace(FAST_WORKER, dump_s=1.0), fault=f"once={tmp_path}/struck;hang@1")
    async with running_server(config, tone_python) as server:
        answer = await ask(server.ws, {"token": TEXT, "done": True})
    assert answer.audio == tone_bytes(TEXT)
    assert "in _hang" in caplog.text


async def test_w5_a_worker_that_holds_the_gil_is_not_killed_before_the_gap_limit(tone_python: Path) -> None:
    config = tone_config(limits=replace(FAST_WORKER, chunk_gap_s=5.0), fault="hang_gil@2:1.0")
    async with running_server(config, tone_python) as server:
        pid = only_slot(server.backend).pid
        answer = await ask(server.ws, {"token": TEXT, "done": True})
        assert (only_slot(server.backend).pid, only_slot(server.backend).restarts) == (pid, 0)
    assert answer.audio == tone_bytes(TEXT)
    assert resumes(answer) == 0


async def test_w5_a_worker_that_holds_the_gil_beyond_the_gap_limit_is_killed(tone_python: Path, tmp_path: Path) -> None:
    config = tone_config(fault=f"once={tmp_path}/struck;hang_gil@2:60")
    async with running_server(config, tone_python) as server:
        answer = await ask(server.ws, {"token": TEXT, "done": True})
        assert only_slot(server.backend).restarts == 1
    assert answer.audio == tone_bytes(TEXT)
    assert resumes(answer) == 1


async def test_w17_an_engine_that_does_not_let_go_of_a_cancelled_render_is_replaced(
    tone_python: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = replace(FAST_WORKER, chunk_gap_s=10.0)
    async with running_server(tone_config(limits=limits, speed_rtf=0.5), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"opts": {"fault": "ignore_cancel:60"}, "token": TEXT, "flush": True})
            pid = await start_of_render(ws, server)
            await first_audio(ws)
            await say(ws, {"cancel": True, "opts": {}, "token": TEXT, "done": True})
            await read_answer(ws, until="cancelled")
            answer = await read_answer(ws)
        await all_ready(server.backend, without=pid)
    assert answer.audio == tone_bytes(TEXT)
    assert "did not let go of a cancelled render" in caplog.text


@pytest.mark.parametrize("steps", range(8))
async def test_w18_a_stop_in_the_middle_of_a_start_leaves_nothing(tone_python: Path, steps: int) -> None:
    config = tone_config(workers=2)
    outfit = Outfit(tuple(worker_specs(config, tone_python, 2, [])))
    pool, guardian = build_pool(config, outfit, FAST), Guardian()
    pool.start(guardian, asyncio.Semaphore(2), random.random)
    for _ in range(steps):
        await asyncio.sleep(0)
    await pool.stop()
    guardian.close()
    assert all(is_gone(slot.pid) for slot in pool.slots)
