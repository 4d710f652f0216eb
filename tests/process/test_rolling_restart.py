"""A restart of a backend under load: every worker is new afterwards, and nobody has heard anything of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import websockets

from tests.harness import (
    Answer,
    RunningServer,
    ask,
    eventually,
    read_answer,
    running_pool,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from tests.process.hearing_driver import Client, beeps, listening, pitch_config, words
from tests.process.pool_driver import LOAD_S, PATIENT, all_loaded, first_audio, only_slot
from tests.server_process import is_gone
from voice_server.core.errors import RestartRunning
from voice_server.core.settings import BackendConfig
from voice_server.core.text.hearing import HearingDone
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "The first sentence of this answer. Another one that follows it. And the last of them all."
SENTENCES = ("The first sentence of this answer.", "Another one that follows it.", "And the last of them all.")


def config(**options: Any) -> BackendConfig:
    return tone_config(limits=PATIENT, **options)


def gated(gate: Path, **options: Any) -> BackendConfig:
    """While `gate` is there no worker loads."""
    return config(load_fault=f"while={gate};raise", **options)


def pids(backend: Backend | Recogniser) -> set[int]:
    return {slot.pid for slot in backend.pool.slots}


async def restarted(server: RunningServer, method: str = "POST", name: str = "tone") -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient() as client:
        answer = await client.request(method, f"{server.http}/backends/{name}/restart")
        return answer.status_code, answer.json()


async def has_ended(backend: Backend | Recogniser, state: str = "done") -> None:
    roll = backend.pool.last_roll
    assert roll
    await eventually(lambda: not roll.is_running, "the restart has ended", LOAD_S)
    assert (roll.status.state, roll.status.reason == "") == (state, state == "done")


async def speak_until(is_over: Callable[[], bool], server: RunningServer) -> list[Answer]:
    answers = []
    while not is_over():
        answers.append(await ask(server.ws, {"token": TEXT, "done": True}))
    return answers


async def test_a_restart_under_load_is_not_heard_by_anybody(tone_python: Path) -> None:
    async with running_server(config(workers=2, speed_rtf=0.05), tone_python) as server:
        await all_loaded(server.backend)
        before = pids(server.backend)
        ended = asyncio.Event()
        speaking = [asyncio.create_task(speak_until(ended.is_set, server)) for _ in range(4)]
        status, told = await restarted(server)
        assert (status, told["state"], told["workers"]) == (202, "running", 2)
        await has_ended(server.backend)
        ended.set()
        answers = [answer for listener in await asyncio.gather(*speaking) for answer in listener]
        assert not before & pids(server.backend)
        assert len(server.backend.pool.slots) == 2
        assert (await restarted(server, "GET"))[1]["replaced"] == 2
    print(f"{len(answers)} answers during the restart")
    assert [answer.codes for answer in answers] == [[]] * len(answers)
    assert all(answer.audio == tone_bytes(*SENTENCES) for answer in answers)
    assert not [answer for answer in answers if answer.of_type("resumed")]


@pytest.mark.parametrize("way", ["replace-first", "stop-first"])
async def test_a_sentence_that_is_being_spoken_is_finished_by_its_own_worker(tone_python: Path, way: Any) -> None:
    async with running_server(replace(config(speed_rtf=1.0), roll=way), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": SENTENCES[0], "flush": True})
            heard = await first_audio(ws)
            old = only_slot(server.backend).pid
            await restarted(server)
            await say(ws, {"token": SENTENCES[1], "done": True})
            rest = await read_answer(ws)
        await has_ended(server.backend)
        assert only_slot(server.backend).pid != old
    assert heard + rest.audio == tone_bytes(*SENTENCES[:2])
    assert [told["index"] for told in rest.of_type("generating")] == [1]


async def test_where_a_device_cannot_hold_two_the_old_worker_is_gone_before_the_new_one_loads(
    tone_python: Path, tmp_path: Path
) -> None:
    record = tmp_path / "starts"
    async with running_server(replace(config(record=str(record)), roll="stop-first"), tone_python) as server:
        old = psutil.Process(only_slot(server.backend).pid)
        await restarted(server)
        while len(record.read_text().splitlines()) < 2:
            was_there = not is_gone(old)
            await asyncio.sleep(0.005)
        assert not was_there
        await has_ended(server.backend)


async def test_who_comes_while_the_only_worker_is_replaced_waits_for_the_new_one(tone_python: Path) -> None:
    async with running_server(replace(config(load_s=0.5), roll="stop-first"), tone_python) as server:
        await restarted(server)
        answer = await ask(server.ws, {"token": TEXT, "done": True})
    assert (answer.codes, answer.audio) == ([], tone_bytes(*SENTENCES))


async def test_a_replacement_that_does_not_load_leaves_the_old_worker_at_work(
    tone_python: Path, tmp_path: Path
) -> None:
    async with running_server(gated(tmp_path / "gate", workers=2), tone_python) as server:
        await all_loaded(server.backend)
        before = pids(server.backend)
        (tmp_path / "gate").touch()
        await restarted(server)
        await has_ended(server.backend, "failed")
        _, told = await restarted(server, "GET")
        assert (told["state"], told["replaced"]) == ("failed", 0)
        assert "a scripted failure" in told["reason"]
        assert pids(server.backend) == before
        answer = await ask(server.ws, {"token": TEXT, "done": True})
    assert answer.audio == tone_bytes(*SENTENCES)


async def test_an_old_version_that_had_to_leave_first_is_loaded_again(tone_python: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with running_pool(gated(gate), tone_python) as backend:
        gate.touch()
        backend.pool.restart(stops_first=True)
        await has_ended(backend, "failed")
        gate.unlink()
        await all_loaded(backend)
        assert backend.pool.is_ready
        assert len(backend.pool.slots) == 1


async def test_a_backend_that_has_given_up_is_mended_by_a_restart(tone_python: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    faulty = config(load_fault=f"while={gate};config")
    async with running_server(faulty, tone_python, wait=False) as server:
        await eventually(lambda: only_slot(server.backend).state == "failed", "it has given up", LOAD_S)
        gate.unlink()
        await restarted(server)
        await has_ended(server.backend)
        answer = await ask(server.ws, {"token": TEXT, "done": True})
    assert answer.audio == tone_bytes(*SENTENCES)


async def test_spares_are_replaced_as_well(tone_python: Path) -> None:
    async with running_pool(replace(config(), spares=1), tone_python) as backend:
        await all_loaded(backend)
        before = pids(backend)
        backend.pool.restart()
        await has_ended(backend)
        assert not before & pids(backend)
        assert sorted(slot.state for slot in backend.pool.slots) == ["ready", "spare"]


async def test_one_restart_at_a_time(tone_python: Path) -> None:
    async with running_server(config(load_s=0.5), tone_python) as server:
        assert (await restarted(server))[0] == 202
        status, told = await restarted(server)
        assert (status, told["error"]["code"]) == (409, "restart_running")
        with pytest.raises(RestartRunning):
            server.backend.pool.restart()


async def test_a_backend_that_does_not_run_here_cannot_be_restarted(tone_python: Path) -> None:
    async with running_server(config(), tone_python) as server:
        status, told = await restarted(server, name="other")
        assert (status, told["error"]["code"]) == (404, "unknown_backend")
        assert (await restarted(server, "GET"))[1]["state"] == "never"


async def test_a_server_that_stops_amid_a_restart_leaves_nothing_behind(tone_python: Path) -> None:
    async with running_pool(config(load_s=30.0), tone_python, wait=False) as backend:
        backend.pool.restart()
        await eventually(lambda: len(backend.pool.slots) == 2, "the new worker has been begun")


async def test_a_hearing_stays_at_its_worker_until_it_ends(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config(limits=PATIENT)) as recogniser:
        client = Client(recogniser)
        client.hearing.hear(beeps(440))
        old = pids(recogniser)
        recogniser.pool.restart()
        await eventually(
            lambda: len(recogniser.pool.slots) == 2 and recogniser.pool.slots[1].state == "leaving", "it leaves"
        )
        client.hearing.hear(beeps(550))
        await is_text(client, words(440, 550))
        assert recogniser.pool.slots[1].pid in old
        last = await client.say(beeps(880))
        await has_ended(recogniser)
        assert not old & pids(recogniser)
    assert isinstance(last, HearingDone)
    assert last.text == words(440, 550, 880)


async def test_a_hearing_that_lasts_too_long_is_moved_each_time_and_loses_no_word(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config(limits=replace(PATIENT, roll_s=0.1))) as recogniser:
        client, pitches = Client(recogniser), (440, 550, 660, 770)
        for number, pitch in enumerate(pitches):
            client.hearing.hear(beeps(pitch))
            await is_text(client, words(*pitches[: number + 1]))
            recogniser.pool.restart()
            await has_ended(recogniser)
        last = await client.say(beeps(880))
    assert isinstance(last, HearingDone)
    assert last.text == words(*pitches, 880)


async def is_text(client: Client, text: str) -> None:
    await eventually(lambda: bool(client.texts) and client.texts[-1].text.strip() == text, f"it is heard: {text}")
