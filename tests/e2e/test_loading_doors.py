"""Doors that cannot begin before a backend is ready: how long they wait, and for whom."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import websockets

from tests.e2e.wyoming_client import connected, wyoming
from tests.harness import (
    FAST,
    FAST_WORKER,
    TIMEOUT_S,
    Answer,
    eventually,
    read_answer,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from voice_server.core.limits import Limits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "Hello there."
PING_S = 1.0
LOADING = tone_config(load_fault="hang", limits=replace(FAST_WORKER, load_s=10 * TIMEOUT_S))


def waiting(queue_wait_s: float) -> Limits:
    return replace(FAST, stream=replace(FAST.stream, queue_wait_s=queue_wait_s, ping_s=PING_S))


async def _ask_natively(url: str) -> Answer:
    async with websockets.connect(f"{url}/stream-tokens?sample_rate=native", open_timeout=None, max_size=None) as ws:
        with suppress(websockets.ConnectionClosed):  # it may have been told already that nothing comes
            await say(ws, {"token": "Hello "}, {"token": "there."}, {"done": True})
        return await read_answer(ws)


async def test_a_client_that_wants_the_rate_of_a_loading_engine_is_not_cut_off_by_our_pings(
    tone_python: Path, tmp_path: Path
) -> None:
    config = tone_config(load_fault=f"once={tmp_path}/struck;hang")  # until it is killed, after `load_s`
    assert config.limits.load_s > 2 * PING_S, "a pong that nobody reads is missed"
    async with running_server(config, tone_python, limits=waiting(TIMEOUT_S), wait=False) as server:
        answer = await asyncio.wait_for(_ask_natively(server.ws), TIMEOUT_S)
    assert (answer.close_code, answer.codes, answer.audio) == (None, [], tone_bytes(TEXT))


async def test_the_rate_of_an_engine_that_does_not_load_is_not_waited_for_for_ever(tone_python: Path) -> None:
    async with running_server(LOADING, tone_python, limits=waiting(0.2), wait=False) as server:
        answer = await asyncio.wait_for(_ask_natively(server.ws), TIMEOUT_S)
    assert (answer.codes, answer.close_code) == (["backend_unavailable"], 1008)


async def test_who_leaves_while_the_engine_loads_takes_up_no_connection(tone_python: Path) -> None:
    async with running_server(LOADING, tone_python, limits=waiting(10 * TIMEOUT_S), wait=False) as server:
        traffic = server.house.metrics.traffic
        async with httpx.AsyncClient(timeout=None) as client:
            for kind, request in (
                ("http", client.post(f"{server.http}/tts", json={"text": TEXT})),
                ("websocket", _ask_natively(server.ws)),
            ):
                asking = asyncio.create_task(request)
                await eventually(lambda kind=kind: traffic.open[kind] == 1, "it is inside")
                asking.cancel()
                await eventually(lambda kind=kind: traffic.open[kind] == 0, "it is gone")
                await asyncio.wait([asking])


async def test_a_file_of_an_engine_that_does_not_load_is_not_waited_for_for_ever(tone_python: Path) -> None:
    async with running_server(LOADING, tone_python, limits=waiting(0.2), wait=False) as server:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            response = await client.post(f"{server.http}/tts", json={"text": TEXT})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "backend_unavailable")


@pytest.mark.parametrize("wish", ["describe", "synthesize"])
async def test_home_assistant_does_not_wait_for_ever_for_an_engine_that_does_not_load(
    tone_python: Path, wish: str
) -> None:
    async with running_server(LOADING, tone_python, limits=waiting(0.2), wait=False) as server:
        async with wyoming(server) as port, connected(port) as client:
            await client.say(wish, text=TEXT)
            told = await client.hear()
    assert told and (told[0], told[1]["code"]) == ("error", "backend_unavailable")
