"""Workers on the nodes of a real Ray cluster: nobody can tell, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import psutil
import pytest
import websockets

from tests.cluster.conftest import START_S, Nodes, Serving, all_ready, spoken_while
from tests.harness import RunningServer, ask, eventually, read_answer, say, tone_bytes
from tests.process.pool_driver import first_audio

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.timeout(400)]

SENTENCE = "This sentence is long enough for somebody to die in the middle of it."


async def test_the_workers_of_three_nodes_say_what_those_of_one_machine_do(nodes: Nodes, serving: Serving) -> None:
    texts = [f"This is what stream number {number} has to say." for number in range(16)]
    nodes.add()
    async with serving(workers=3) as server:
        pids = [slot.pid for slot in server.backend.pool.slots]
        assert {slot.host for slot in server.backend.pool.slots} == {socket.gethostname()}
        assert len({nodes.raylet_of(pid) for pid in pids}) == 3
        answers = await asyncio.gather(*(ask(server.ws, {"token": text, "done": True}) for text in texts))
    assert [answer.audio for answer in answers] == [tone_bytes(text) for text in texts]


async def test_our_code_travels_to_the_node(nodes: Nodes, serving: Serving) -> None:
    async with serving(workers=1) as server:
        (slot,) = server.backend.pool.slots
        script = psutil.Process(slot.pid).cmdline()[2]
    assert script.endswith("voice_server/worker/bootstrap.py") and "/runtime_resources/" in script


async def test_no_secret_of_the_gateway_travels_to_a_worker(
    nodes: Nodes, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICE_SERVER_TOKEN", "a secret")
    async with serving(workers=1) as server:
        (slot,) = server.backend.pool.slots
        worker = psutil.Process(slot.pid)
        actor = psutil.Process(worker.ppid())
        assert not any("a secret" in process.environ().values() for process in (worker, actor, _bridge()))


async def test_a_far_worker_that_is_killed_costs_one_render(nodes: Nodes, serving: Serving) -> None:
    async with serving(speed_rtf=0.3) as server:
        answer, pid = await spoken_while(server, SENTENCE, lambda pid: os.kill(pid, signal.SIGKILL))
        assert answer.audio == tone_bytes(SENTENCE)
        assert len(answer.of_type("resumed")) == 1
        await all_ready(server, without=pid)


@pytest.mark.release
async def test_an_actor_that_is_killed_costs_one_render(nodes: Nodes, serving: Serving) -> None:
    async with serving(speed_rtf=0.3) as server:
        answer, pid = await spoken_while(
            server, SENTENCE, lambda pid: os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
        )
        assert answer.audio == tone_bytes(SENTENCE)
        assert len(answer.of_type("resumed")) == 1
        await eventually(lambda: not psutil.pid_exists(pid), "the worker died with its actor")
        await all_ready(server, without=pid)


async def test_a_node_that_is_lost_costs_one_render_and_one_that_joins_is_used(nodes: Nodes, serving: Serving) -> None:
    async with serving(speed_rtf=0.3) as server:
        answer, pid = await spoken_while(server, SENTENCE, nodes.lose)
        assert answer.audio == tone_bytes(SENTENCE)
        assert len(answer.of_type("resumed")) == 1
        nodes.add()
        await all_ready(server, without=pid)


@pytest.mark.release
async def test_a_raylet_that_is_killed_takes_no_byte_along(nodes: Nodes, serving: Serving) -> None:
    async with serving(speed_rtf=1.0) as server:
        answer, pid = await spoken_while(server, SENTENCE, nodes.lose_raylet)
        assert answer.audio == tone_bytes(SENTENCE)
        await eventually(lambda: not psutil.pid_exists(pid), "the worker died after its raylet", START_S)
        nodes.add()
        await all_ready(server, without=pid)


@pytest.mark.release
async def test_a_bridge_that_is_killed_is_replaced(nodes: Nodes, serving: Serving) -> None:
    async with serving() as server:
        before = {slot.pid for slot in server.backend.pool.slots}
        _bridge().kill()
        await eventually(lambda: before.isdisjoint(_pids(server)), "the workers were lost with it", START_S)
        await all_ready(server)
        assert (await ask(server.ws, {"token": SENTENCE, "done": True})).audio == tone_bytes(SENTENCE)


async def test_a_cancel_reaches_the_engine_in_the_middle_of_its_render(nodes: Nodes, serving: Serving) -> None:
    async with serving(workers=1, speed_rtf=1.0, seconds_per_char=1.0) as server:  # more than a minute of work
        (before,) = server.backend.pool.slots
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": SENTENCE, "done": True})
            await first_audio(ws)
            await say(ws, {"type": "cancel"})
            await read_answer(ws, until="cancelled")
            await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free")
        (after,) = server.backend.pool.slots
        assert after.pid == before.pid, "it let go in time; who does not is killed"


def _bridge() -> psutil.Process:
    alive = (child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE)
    (bridge,) = (child for child in alive if "voice_server.pool.cluster.bridge" in child.cmdline())
    return bridge


def _pids(server: RunningServer) -> set[int]:
    return {slot.pid for slot in server.backend.pool.slots}
