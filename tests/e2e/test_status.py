"""`/metrics` and `/status` of the real server, while real clients listen."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families

from tests.harness import TIMEOUT_S, RunningServer, ask, read_answer, running_server, say, tone_config
from voice_server import __version__

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen jugs."
LONG = "This sentence is long enough to be looked at while it is rendered. "


async def get(server: RunningServer, path: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{server.http}{path}")


async def scrape(server: RunningServer) -> dict[str, float]:
    """Every sample by its name and labels, as `name{a=b}`; without the label of the only backend."""
    families = text_string_to_metric_families((await get(server, "/metrics")).text)
    samples = [sample for family in families for sample in family.samples if "backend" in sample.labels]
    assert {sample.labels.pop("backend") for sample in samples} == {"tone"}
    return {
        sample.name + "".join(f"{{{key}={value}}}" for key, value in sample.labels.items()): sample.value
        for sample in samples
    }


async def status_when(server: RunningServer, is_so: Any) -> dict[str, Any]:
    """The status of the tone backend, as soon as it is so."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so(status := (await get(server, "/status")).json()["backends"][0]):
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.01)
    return status


async def test_the_metrics_tell_what_two_listeners_heard(tone_python: Path) -> None:
    async with running_server(tone_config(first_chunk_s=0.1, speed_rtf=0.1), tone_python) as server:
        for _ in range(2):
            await ask(server.ws, {"token": TEXT}, {"done": True})
        seen = await scrape(server)
    assert seen["voice_answers_total{gap_free=true}"] == 2
    assert seen["voice_answers_total{gap_free=false}"] == 0
    assert seen["voice_first_audio_seconds_count"] == 2
    assert 0.2 < seen["voice_first_audio_seconds_sum"] < 2.0
    assert seen["voice_first_audio_seconds_bucket{le=0.1}"] == 0
    assert seen["voice_audible_onset_seconds_count"] == 2
    assert seen["voice_audible_onset_seconds_sum"] >= seen["voice_first_audio_seconds_sum"]
    assert seen["voice_queue_wait_seconds_count"] == 2
    assert seen["voice_queue_wait_seconds_sum"] < 0.1
    assert seen["voice_sentence_gap_seconds_count"] == 2
    assert seen["voice_sentence_gap_seconds_sum"] == 0.0
    assert seen["voice_workers{state=ready}"] == 1
    assert 0.08 < seen["voice_real_time_factor{worker=tone-0}"] < 1.0
    assert seen["voice_renders_open"] == 0


async def test_an_engine_slower_than_speech_is_seen_to_stutter(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=2.0), tone_python) as server:
        await ask(server.ws, {"token": "Hello there."}, {"done": True})
        seen = await scrape(server)
    assert seen["voice_answers_total{gap_free=false}"] == 1
    assert seen["voice_deadline_misses_total"] >= 1
    assert seen["voice_real_time_factor{worker=tone-0}"] > 1.5


async def test_silence_between_sentences_has_a_length(tone_python: Path) -> None:
    async with running_server(tone_config(first_chunk_s=0.5, seconds_per_char=0.01), tone_python) as server:
        await ask(server.ws, {"token": TEXT}, {"done": True})
        seen = await scrape(server)
    assert seen["voice_sentence_gap_seconds_count"] == 1
    assert 0.02 < seen["voice_sentence_gap_seconds_sum"] < 1.0
    assert seen["voice_answers_total{gap_free=false}"] == 1


async def test_nobody_listens_to_a_file(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient() as client:
            assert (await client.post(f"{server.http}/tts", json={"text": TEXT})).status_code == 200
        seen = await scrape(server)
    assert seen["voice_first_audio_seconds_count"] == 0
    assert seen["voice_answers_total{gap_free=true}"] == 0


async def test_the_status_shows_a_render_and_its_listener(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?voice=low") as ws:
            await say(ws, {"token": LONG, "flush": True})
            seen = await status_when(server, lambda now: any(stream["heard_s"] > 0.2 for stream in now["streams"]))
    stream, worker = seen["streams"][0], seen["workers"][0]
    assert (stream["live"], stream["voice"], stream["state"]) == (True, "low", "speaking")
    assert (stream["open_renders"], stream["waiting"], stream["admitted"]) == (1, 0, True)
    assert stream["ahead_s"] >= stream["runs_out_in_s"] > 0
    assert (worker["state"], worker["capacity"], worker["open_renders"]) == ("ready", 1, 1)
    render = worker["renders"][0]
    assert (render["stream"], render["sentence"], render["voice"]) == (stream["id"], 0, "low")
    assert render["audio_s"] > 0.2


async def test_the_status_shows_who_waits(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as first:
            await say(first, {"token": LONG, "flush": True})
            await status_when(server, lambda now: now["streams"] and now["streams"][0]["ahead_s"] > 0)
            async with websockets.connect(f"{server.ws}/stream-tokens") as second:
                await say(second, {"token": LONG, "flush": True})
                seen = await status_when(server, lambda now: len(now["streams"]) == 2 and now["streams"][1]["waiting"])
    assert (seen["streams"][1]["state"], seen["streams"][1]["position"]) == ("waiting", 1)
    assert (seen["streams"][0]["state"], seen["streams"][0]["position"]) == ("speaking", 0)


async def test_a_stream_that_left_is_not_shown(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        await ask(server.ws, {"token": TEXT}, {"done": True})
        seen = await status_when(server, lambda now: not now["streams"])
        assert server.backend.streams == {}
    assert seen["workers"][0]["renders"] == []


async def test_the_status_tells_of_the_server_itself(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        first = (await get(server, "/status")).json()
        server.house.is_draining = True
        second = (await get(server, "/status")).json()
    assert (first["version"], first["draining"], second["draining"]) == (__version__, False, True)
    assert 0 < first["uptime_s"] < second["uptime_s"]


async def test_no_word_of_a_client_is_in_the_status(tone_python: Path) -> None:
    async with running_server(tone_config(load_s=3.0), tone_python, wait=False) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?voice=my+secret+voice") as ws:
            await say(ws, {"token": "My secret sentence. ", "flush": True})
            await status_when(server, lambda now: now["streams"] and now["streams"][0]["waiting"])
            told = [(await get(server, path)).text for path in ("/status", "/metrics")]
    assert "secret" not in "".join(told)


@pytest.mark.parametrize("path", ["/status", "/metrics"])
async def test_the_token_guards_it(tone_python: Path, path: str) -> None:
    async with running_server(tone_config(), tone_python, token="open sesame") as server:
        async with httpx.AsyncClient() as client:
            refused = await client.get(f"{server.http}{path}")
            let_in = await client.get(f"{server.http}{path}", headers={"authorization": "Bearer open sesame"})
    assert (refused.status_code, let_in.status_code) == (401, 200)


async def test_answers_on_one_socket_are_counted_one_by_one(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?keep_open=1") as ws:
            for _ in range(3):
                await say(ws, {"token": TEXT}, {"done": True})
            for _ in range(3):
                await read_answer(ws)
        seen = await scrape(server)
    assert seen["voice_answers_total{gap_free=true}"] == 3
    assert seen["voice_first_audio_seconds_count"] == 3
