"""A node that is taken away on purpose, and one whose packets stop: nobody hears a gap, or anything twice."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import psutil
import pytest

from tests.cluster.conftest import START_S, Nodes, Serving, all_ready, spoken_while
from tests.harness import RunningServer, ask, eventually, tone_bytes

pytestmark = [pytest.mark.anyio, pytest.mark.cluster, pytest.mark.timeout(400)]

SENTENCE = "This sentence is long enough for somebody to be cut off in the middle of it."
TEXTS = [f"This is sentence number {number}, which nobody may miss." for number in range(12)]


async def test_workers_leave_a_node_that_is_drained_when_others_have_come_elsewhere(
    nodes: Nodes, serving: Serving
) -> None:
    async with serving(speed_rtf=0.1) as server:
        (old, *_) = _pids(server)
        speaking = asyncio.gather(*(ask(server.ws, {"token": text, "done": True}) for text in TEXTS))
        await asyncio.to_thread(nodes.drain, old)
        nodes.add()
        answers = await asyncio.wait_for(speaking, START_S)
        await eventually(lambda: old not in _pids(server), "it has left", START_S)
        await all_ready(server, without=old)
        assert not psutil.pid_exists(old)
        assert len(server.backend.pool.slots) == 2
    assert [answer.audio for answer in answers] == [tone_bytes(text) for text in TEXTS]
    assert not any(answer.of_type("resumed") for answer in answers), "nobody was cut off"


@pytest.mark.release
async def test_a_drained_node_that_ends_before_there_is_room_elsewhere_leaves_no_slot_too_many(
    nodes: Nodes, serving: Serving
) -> None:
    async with serving() as server:
        (old, *_) = _pids(server)
        await asyncio.to_thread(nodes.drain, old)
        await eventually(lambda: len(server.backend.pool.slots) == 3, "another one is to come", START_S)
        nodes.lose(old)
        await eventually(lambda: len(server.backend.pool.slots) == 2, "the lost one is not waited for", START_S)
        nodes.add()
        await all_ready(server, without=old)


@pytest.mark.release
async def test_what_a_node_says_after_it_was_given_up_is_not_heard(nodes: Nodes, serving: Serving) -> None:
    async with serving(speed_rtf=0.3) as server:
        with ExitStack() as parted:
            answer, pid = await spoken_while(server, SENTENCE, lambda pid: parted.enter_context(nodes.parted(pid)))
        assert answer.audio == tone_bytes(SENTENCE)
        assert len(answer.of_type("resumed")) == 1
        await eventually(lambda: not psutil.pid_exists(pid), "who was given up ends when it wakes", START_S)
        nodes.add()
        await all_ready(server, without=pid)
        assert (await ask(server.ws, {"token": TEXTS[1], "done": True})).audio == tone_bytes(TEXTS[1])


def _pids(server: RunningServer) -> list[int]:
    return [slot.pid for slot in server.backend.pool.slots]
