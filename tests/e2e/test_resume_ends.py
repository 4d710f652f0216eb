"""Who holds a stream whose client lost its socket, and when it is over for good."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.e2e.resume_client import ANSWER, SENTENCES, Listener, listener
from tests.fault_proxy import fault_proxy
from tests.harness import FAST, TIMEOUT_S, eventually, running_server, tone_bytes, tone_config
from voice_server.core.limits import Limits, ResumeLimits
from voice_server.core.tokens import line
from voice_server.gateway.access.tokens import TokenFile, Tokens

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


def limits_of(**resume: Any) -> Limits:
    return replace(FAST, resume=ResumeLimits(**resume))


# Who holds the stream


async def test_the_newest_socket_takes_over_from_one_that_still_seems_alive(tone_python: Path) -> None:
    async with listener(tone_python, query={"keep_open": "1"}) as client:
        first = client.ws
        await client.come_back()
        told = [json.loads(await asyncio.wait_for(first.recv(), TIMEOUT_S))]
        await asyncio.wait_for(first.wait_closed(), TIMEOUT_S)
        await client.say(*ANSWER)
        await client.read_until("done")
    assert [one["code"] for one in told] == ["resumed_elsewhere"]
    assert first.close_code == 4001
    assert client.audio == tone_bytes(*SENTENCES)


async def test_a_client_whose_network_swallows_everything_comes_back_on_another_socket(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.1), tone_python) as server, fault_proxy(server.port) as proxy:
        client = Listener(replace(server, port=proxy.port))
        await client.come()
        await client.say(*ANSWER)
        await client.read_audio(2)
        proxy.blackhole()
        client.server = server
        await client.come_back()
        await client.read_all()
        assert len(server.house.guests) == 0  # the server is done with the dead socket, which nobody closed
    assert client.audio == tone_bytes(*SENTENCES)


async def test_of_many_sockets_that_come_at_once_the_newest_gets_the_stream(tone_python: Path) -> None:
    async with listener(tone_python, query={"keep_open": "1"}) as client:
        await client.say(*ANSWER)
        await client.read_audio(2)
        first, others = client.ws, [replace(client) for _ in range(8)]
        await asyncio.gather(*(other.come_back() for other in others))
        await client.come_back()
        await client.read_until("done")
        assert {other.ready.get("code", "resumed_elsewhere") for other in others} == {"resumed_elsewhere"}
        for ws in (first, *(other.ws for other in others)):
            ws.transport.abort()
    assert client.audio == tone_bytes(*SENTENCES)


async def test_a_stream_may_be_resumed_only_by_who_asked_for_it(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            ready = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
            assert len(server.house.tethers) == 0
    assert not any(key.startswith("resume") for key in ready)


async def test_only_who_shows_the_same_key_may_come_back(tone_python: Path, tmp_path: Path) -> None:
    table = tmp_path / "tokens"
    table.write_text(f"{line('ada', 'key of ada')}\n{line('bob', 'key of bob')}\n")
    async with running_server(tone_config(), tone_python, tokens=Tokens(file=TokenFile(table))) as server:
        client = Listener(server, {"keep_open": "1"}, key="key of ada")
        await client.come()
        await client.say(*ANSWER)
        await client.read_audio(2)
        other = replace(client, key="key of bob")
        await other.come_back()
        assert other.ready["code"] == "cannot_resume"
        client.lose()
        await client.come_back()
        await client.read_until("done")
        other.ws.transport.abort()
        client.ws.transport.abort()
    assert client.audio == tone_bytes(*SENTENCES)


# Ends


@pytest.mark.parametrize(
    "wrong",
    [{"token": "x" * 22}, {"bytes": 10_000_000}, {"messages": 10_000}],
    ids=["token", "bytes", "messages"],
)
async def test_a_place_that_is_not_there_is_refused_and_the_right_one_still_taken(
    tone_python: Path, wrong: dict[str, Any]
) -> None:
    async with listener(tone_python) as client:
        await client.say(*ANSWER)
        await client.read_audio(2)
        client.lose()
        lost = replace(client)
        await lost.come_back(**wrong)
        assert (lost.ready["type"], lost.ready["code"]) == ("error", "cannot_resume")
        await asyncio.wait_for(lost.ws.wait_closed(), TIMEOUT_S)
        assert lost.ws.close_code == 1008
        await client.come_back()
        await client.read_all()
    assert client.audio == tone_bytes(*SENTENCES)


async def test_who_comes_too_late_is_told_so(tone_python: Path) -> None:
    async with listener(tone_python, limits=limits_of(wait_s=0.2)) as client:
        client.lose()
        await eventually(lambda: len(client.server.house.tethers) == 0, "nobody waits for the client")
        await client.come_back(bytes=0)
        assert client.ready["code"] == "cannot_resume"


async def test_a_worker_is_free_when_nobody_came_back_in_time(tone_python: Path) -> None:
    async with listener(tone_python, limits=limits_of(wait_s=0.3), speed_rtf=1.0) as client:
        await client.say({"token": "A sentence that is spoken for a long time, since it has so many words. " * 3})
        await client.read_until("generating")
        dispatcher = client.server.backend.pool.dispatcher
        client.lose()
        await eventually(lambda: len(client.server.house.tethers) == 0, "nobody waits for the client")
        await eventually(lambda: dispatcher.has_idle_worker, "the worker is free")


async def test_nobody_waits_for_a_client_that_said_goodbye(tone_python: Path) -> None:
    async with listener(tone_python, speed_rtf=1.0) as client:
        await client.say({"token": SENTENCES[0], "flush": True})
        await client.read_until("generating")
        await client.ws.close()
        await eventually(lambda: len(client.server.house.tethers) == 0, "the stream is over")


async def test_what_is_kept_of_an_answer_is_bounded(tone_python: Path) -> None:
    kept_bytes = len(tone_bytes(SENTENCES[-1])) // 2
    async with listener(tone_python, limits=limits_of(kept_bytes=kept_bytes), query={"keep_open": "1"}) as client:
        early = replace(client)
        await client.say(*ANSWER)
        await client.read_until("done")
        [tether] = client.server.house.tethers
        assert 0 < tether.tape.kept_bytes <= kept_bytes
        client.lose()
        await early.come_back(bytes=0, messages=0)
        assert early.ready["code"] == "cannot_resume"
        await client.come_back()
    assert client.ready["resumed_at"] == len(tone_bytes(*SENTENCES))


async def test_an_absent_client_costs_no_more_than_a_slow_one(tone_python: Path) -> None:
    """What is rendered for it is bounded by what may be made ahead."""
    limits = replace(FAST, stream=replace(FAST.stream, ahead_s=1.0))
    async with listener(tone_python, limits=limits) as client:
        for number in range(40):
            await client.say({"token": f"Sentence number {number} of a long answer. "})
        await client.read_audio(2)
        client.lose()
        [tether] = client.server.house.tethers
        dispatcher = client.server.backend.pool.dispatcher
        await eventually(lambda: dispatcher.has_idle_worker, "the worker has nothing to do")
        longest_s = 0.06 * len("Sentence number 39 of a long answer.")
        assert tether.dialogue.outbox.waiting_bytes <= 48_000 * (limits.stream.ahead_s + longest_s)
        client.said.append({"done": True})
        await client.come_back()
        await client.read_all()
    assert client.audio == tone_bytes(*(f"Sentence number {number} of a long answer." for number in range(40)))


async def test_a_client_has_so_many_streams_that_wait_and_does_without_on_the_next(tone_python: Path) -> None:
    async with listener(tone_python, limits=limits_of(streams_per_client=1)) as client:
        async with websockets.connect(f"{client.server.ws}/stream-tokens?resume=1") as ws:
            ready = json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S))
    assert "resume" in client.ready
    assert "resume" not in ready


async def test_a_house_that_closes_waits_for_nobody(tone_python: Path) -> None:
    async with listener(tone_python) as client:
        await client.say(*ANSWER[:-1])
        await client.read_audio(2)
        house = client.server.house
        client.lose()
        house.drain()
        await eventually(lambda: len(house.tethers) == 0, "the stream is over")
