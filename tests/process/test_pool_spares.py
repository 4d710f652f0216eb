"""Spares: loaded workers beside the pool, so that nobody waits for a load when a worker is lost."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from tests.harness import (
    RunningServer,
    eventually,
    read_answer,
    running_pool,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from tests.process.hearing_driver import Client, beeps, listening, pitch_config, words
from tests.process.pool_driver import LOAD_S, PATIENT, Listener, all_loaded, first_audio, named, pid_of, submit
from voice_server.core.settings import BackendConfig
from voice_server.core.text.hearing import HearingDone
from voice_server.stream.recogniser import Recogniser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "This sentence is interrupted long before its end, and its engine does not care."


def with_a_spare(gate: Path) -> BackendConfig:
    """Once `gate` is there, no worker loads any more: what speaks then has been loaded before."""
    return replace(tone_config(limits=PATIENT, load_fault=f"while={gate};hang", speed_rtf=0.2), spares=1)


async def test_a_spare_is_loaded_and_given_no_renders(tone_python: Path) -> None:
    async with running_pool(replace(tone_config(limits=PATIENT, speed_rtf=0.1), spares=2), tone_python) as backend:
        await all_loaded(backend)
        listeners = [submit(backend, Listener()) for _ in range(3)]
        await eventually(lambda: all(one.ending for one in listeners), "they are heard")
        assert [{one.worker} for one in listeners] == [set(named(backend, "ready"))] * 3
        assert backend.pool.size == 1


async def test_an_engine_that_ignores_cancel_is_replaced_by_a_spare_without_a_load(
    tone_python: Path, tmp_path: Path
) -> None:
    async with running_server(with_a_spare(tmp_path / "gate"), tone_python) as server:
        await all_loaded(server.backend)
        (spare,) = named(server.backend, "spare")
        (tmp_path / "gate").touch()
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"opts": {"fault": "ignore_cancel:60"}, "token": TEXT, "flush": True})
            await first_audio(ws)
            await say(ws, {"cancel": True})
            await read_answer(ws, until="cancelled")
            await say(ws, {"opts": {}, "token": "And now?", "done": True})
            answer = await read_answer(ws)
        assert [told["worker"] for told in answer.of_type("generating")] == [spare]
        assert named(server.backend, "ready") == [spare]
    assert answer.audio == tone_bytes("And now?")


async def test_a_killed_worker_costs_nobody_a_load_where_there_is_a_spare(tone_python: Path, tmp_path: Path) -> None:
    async with running_server(with_a_spare(tmp_path / "gate"), tone_python) as server:
        await all_loaded(server.backend)
        lost, spare = named(server.backend, "ready") + named(server.backend, "spare")
        (tmp_path / "gate").touch()
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": TEXT, "done": True})
            heard = await first_audio(ws)
            os.kill(pid_of(server.backend, lost), signal.SIGKILL)
            answer = await read_answer(ws)
        assert named(server.backend, "ready") == [spare]
    assert heard + answer.audio == tone_bytes(TEXT)


async def test_the_lost_worker_comes_back_as_the_spare(tone_python: Path) -> None:
    async with running_pool(replace(tone_config(limits=PATIENT), spares=1), tone_python) as backend:
        await all_loaded(backend)
        lost = named(backend, "ready")
        os.kill(pid_of(backend, lost[0]), signal.SIGKILL)
        await eventually(lambda: named(backend, "spare") == lost, "it is the spare", LOAD_S)
        assert len(named(backend, "ready")) == 1


async def test_a_spare_that_dies_is_loaded_again_and_nobody_notices(tone_python: Path) -> None:
    async with running_pool(replace(tone_config(limits=PATIENT), spares=1), tone_python) as backend:
        await all_loaded(backend)
        ready, spare = named(backend, "ready"), named(backend, "spare")
        pid = pid_of(backend, spare[0])
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: pid_of(backend, spare[0]) not in (0, pid), "it is started again")
        await all_loaded(backend)
        assert (named(backend, "ready"), named(backend, "spare")) == (ready, spare)


async def test_a_hearing_goes_on_at_a_spare(tone_python: Path) -> None:
    async with listening(tone_python, replace(pitch_config(limits=PATIENT), spares=1)) as recogniser:
        client = Client(recogniser)
        client.hearing.hear(beeps(440))
        await eventually(lambda: bool(client.texts), "it is heard")
        os.kill(pid_of_hearing(recogniser), signal.SIGKILL)
        last = await client.say(beeps(880))
    assert isinstance(last, HearingDone)
    assert last.text == words(440, 880)


def pid_of_hearing(recogniser: Recogniser) -> int:
    return next(slot.pid for slot in recogniser.pool.slots if slot.open_renders)


async def test_status_and_metrics_count_spares_apart(tone_python: Path) -> None:
    async with running_server(replace(tone_config(workers=2, limits=PATIENT), spares=1), tone_python) as server:
        await all_loaded(server.backend)
        assert 'voice_workers{backend="tone",state="spare"} 1.0' in metrics(server)
        assert 'voice_workers{backend="tone",state="ready"} 2.0' in metrics(server)
        seen = [worker.state for worker in server.house.status.backends[0].workers]
        assert sorted(seen) == ["ready", "ready", "spare"]


def metrics(server: RunningServer) -> str:
    return server.house.metrics.text().decode()
