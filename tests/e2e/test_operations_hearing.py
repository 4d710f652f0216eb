"""What an operator sees of those who are heard: a log line and metrics of each hearing."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from tests.e2e.test_operations import line_of, lines, scrape
from tests.harness import FAST, TIMEOUT_S, eventually, running_server, say, tone_config
from tests.process.hearing_driver import RATE, beeps, listening, pitch_config, words

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TUNE = (440, 880, 1320, 660)
OPEN = b'voice_hearings{backend="pitch"} 1.0'
START = {"start": True, "sample_rate": RATE, "format": "s16le"}


async def test_a_hearing_is_one_line_and_measured(tone_python: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="voice_server.answers")
    async with listening(tone_python, pitch_config()) as recogniser:
        async with running_server(tone_config(), tone_python, recognisers=[recogniser]) as server:
            async with websockets.connect(f"{server.ws}/transcribe") as ws:
                await say(ws, START)
                await eventually(lambda: OPEN in server.house.metrics.text(), "it is counted as open")
                for hz in TUNE:
                    await ws.send(beeps(hz))
                    while json.loads(await ws.recv()).get("type") != "partial":
                        pass
                await say(ws, {"stop": True})
                await eventually(lambda: bool(lines(caplog)), "the hearing is logged")
            line, seen = await line_of(caplog), await scrape(server)
    assert (line["state"], line["door"], line["backend"], line["client"]) == (
        "done",
        "WS /transcribe",
        "pitch",
        "127.0.0.1",
    )
    assert (line["audio_s"], line["dropped_s"], line["chars"]) == (pytest.approx(2.0), 0.0, len(words(*TUNE)))
    assert line["final_ms"] >= 0
    assert seen["voice_hearings{backend=pitch}"] == 0
    assert seen["voice_heard_seconds_total{backend=pitch}"] == pytest.approx(2.0)
    assert seen["voice_final_text_seconds_count{backend=pitch}"] == 1
    assert seen["voice_partial_text_seconds_count{backend=pitch}"] >= 3
    assert seen["voice_hearing_ends_total{backend=pitch,code=,state=done}"] == 1


async def test_who_hangs_up_is_told_as_left(tone_python: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="voice_server.answers")
    async with listening(tone_python, pitch_config()) as recogniser:
        async with running_server(tone_config(), tone_python, recognisers=[recogniser]) as server:
            async with websockets.connect(f"{server.ws}/transcribe") as ws:
                await say(ws, START)
                await eventually(lambda: recogniser.pool.slots[0].open_renders == 1, "it has a seat")
            assert (await line_of(caplog))["state"] == "left"


async def test_a_silent_socket_is_counted_as_idle(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, idle_s=0.2))
    async with listening(tone_python, pitch_config()) as recogniser:
        async with running_server(tone_config(), tone_python, limits=limits, recognisers=[recogniser]) as server:
            async with websockets.connect(f"{server.ws}/transcribe") as ws:
                await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)
            ended = server.house.metrics.traffic.ended
            await eventually(lambda: bool(ended), "it is counted")
    assert list(ended) == [("WS /transcribe", "1008", "idle_timeout")]
