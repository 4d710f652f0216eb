"""What an operator sees of each answer and each request, by whatever door: log lines and metrics of the real server."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.resume_client import Listener
from tests.e2e.wyoming_client import connected, wyoming
from tests.harness import (
    FAST,
    TIMEOUT_S,
    RunningServer,
    ask,
    eventually,
    read_answer,
    running_server,
    say,
    tone_config,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen jugs."


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="voice_server.answers")
    return caplog


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__ for record in caplog.records if record.name == "voice_server.answers"]


async def line_of(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The only one."""
    await eventually(lambda: bool(lines(caplog)), "an answer is logged")
    assert len(lines(caplog)) == 1
    return lines(caplog)[0]


async def scrape(server: RunningServer) -> dict[str, float]:
    """Every sample of ours by its name and labels, as `name{a=b,c=d}`."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{server.http}/metrics")).text
    return {
        sample.name
        + "{"
        + ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
        + "}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def by_stream_tokens(server: RunningServer) -> None:
    await ask(server.ws, {"token": TEXT}, {"done": True})


async def by_stream(server: RunningServer) -> None:
    async with websockets.connect(f"{server.ws}/stream?text={quote(TEXT)}") as ws:
        async for _ in ws:
            pass


async def by_post(server: RunningServer, path: str, **body: str) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.post(server.http + path, json=body)).status_code == 200


async def by_tts(server: RunningServer) -> None:
    await by_post(server, "/tts", text=TEXT)


async def by_openai(server: RunningServer) -> None:
    await by_post(server, "/v1/audio/speech", model="tts-1", voice="tone", input=TEXT, response_format="pcm")


async def by_elevenlabs(server: RunningServer) -> None:
    await by_post(server, "/v1/text-to-speech/tone?output_format=pcm_24000", text=TEXT)


@pytest.mark.parametrize(
    ("speak", "door"),
    [
        (by_stream_tokens, "WS /stream-tokens"),
        (by_stream, "WS /stream"),
        (by_tts, "POST /tts"),
        (by_openai, "POST /v1/audio/speech"),
        (by_elevenlabs, "POST /v1/text-to-speech/{voice}"),
    ],
)
async def test_each_answer_is_one_line_whatever_its_door(
    tone_python: Path, told: pytest.LogCaptureFixture, speak: Any, door: str
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        await speak(server)
        line = await line_of(told)
    assert (line["door"], line["state"], line["backend"], line["client"]) == (door, "done", "tone", "127.0.0.1")
    assert (line["sentences"], line["chars"], line["retries"], line["gaps"]) == (2, len(TEXT), 0, 0)
    assert line["audio_s"] > 1.0
    assert 0 <= line["queue_wait_ms"] <= line["first_audio_ms"] <= line["onset_ms"] <= line["duration_s"] * 1000 + 1
    assert len(line["request_id"]) == 16
    assert not [value for name, value in line.items() if isinstance(value, str) and "fox" in value]


async def test_an_answer_by_wyoming_is_one_line_too(tone_python: Path, told: pytest.LogCaptureFixture) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with wyoming(server) as port, connected(port) as client:
            await client.say("synthesize", text=TEXT)
            await client.hear_until("audio-stop")
            line = await line_of(told)
        await eventually(lambda: not server.house.metrics.traffic.open["tcp"], "the client has left")
    assert (line["door"], line["state"], line["sentences"]) == ("TCP wyoming", "done", 2)


async def test_a_cancelled_answer_says_so_and_the_next_one_has_a_line_of_its_own(
    tone_python: Path, told: pytest.LogCaptureFixture
) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": TEXT, "flush": True})
            await read_answer(ws, until="generating")
            await say(ws, {"cancel": True})
            await read_answer(ws, until="cancelled")
            await say(ws, {"token": "Yes.", "done": True})
            await read_answer(ws)
        await eventually(lambda: len(lines(told)) == 2, "both are logged")
    first, second = lines(told)
    assert (first["state"], second["state"], second["chars"]) == ("cancelled", "done", 4)
    assert first["stream"] == second["stream"]
    assert first["audio_s"] < 5


async def test_who_leaves_is_told_as_left(tone_python: Path, told: pytest.LogCaptureFixture) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with httpx.AsyncClient(timeout=0.5) as client:
            with pytest.raises(httpx.TimeoutException):
                await client.post(f"{server.http}/tts", json={"text": TEXT})
        line = await line_of(told)
    assert (line["state"], line.get("code")) == ("left", None)


async def test_a_lost_worker_is_a_retry_and_a_death(tone_python: Path, told: pytest.LogCaptureFixture) -> None:
    async with running_server(tone_config(), tone_python) as server:
        await ask(server.ws, {"opts": {"fault": "die@1"}}, {"token": "Hello there.", "done": True})
        line = await line_of(told)
        seen = await scrape(server)
    assert (line["retries"], line["failed"], line["code"], line["state"]) == (1, 1, "sentence_failed", "done")
    assert seen["voice_retries_total{backend=tone}"] == 1
    assert seen["voice_sentences_failed_total{backend=tone,code=sentence_failed}"] == 1
    assert sum(value for name, value in seen.items() if name.startswith("voice_worker_deaths_total")) == 2
    assert seen["voice_answer_ends_total{backend=tone,code=sentence_failed,state=done}"] == 1


async def test_the_log_has_the_id_that_the_client_gave_its_request(
    tone_python: Path, told: pytest.LogCaptureFixture
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient() as client:
            await client.post(f"{server.http}/tts", json={"text": TEXT}, headers={"x-request-id": "call-7"})
        assert (await line_of(told))["request_id"] == "call-7"


@asynccontextmanager
async def served(tone_python: Path, **options: Any) -> AsyncIterator[RunningServer]:
    async with running_server(tone_config(), tone_python, **options) as server:
        yield server


async def test_requests_are_counted_by_door_status_and_code(tone_python: Path) -> None:
    async with served(tone_python) as server:
        async with httpx.AsyncClient() as client:
            await client.get(f"{server.http}/voices")
            await client.get(f"{server.http}/nowhere?api_key=secret")
            await client.get(f"{server.http}/voices?backend=other")
        await ask(server.ws, {"token": "Hello.", "done": True})
        seen = await scrape(server)
    assert seen["voice_requests_total{code=,door=GET /voices,status=200}"] == 1
    assert seen["voice_requests_total{code=,door=none,status=404}"] == 1
    assert seen["voice_requests_total{code=unknown_backend,door=GET /voices,status=404}"] == 1
    assert seen["voice_requests_total{code=,door=WS /stream-tokens,status=1000}"] == 1
    assert "secret" not in "".join(seen)


async def test_who_is_refused_is_counted_with_the_reason(tone_python: Path) -> None:
    async with served(tone_python, token="open sesame") as server:
        async with httpx.AsyncClient() as client:
            await client.get(f"{server.http}/voices")
        with pytest.raises(websockets.InvalidStatus):
            await websockets.connect(f"{server.ws}/stream-tokens")
        ended = server.house.metrics.traffic.ended
    assert ended["none", "401", "unauthorized"] == 2


CARTESIA = {
    "transcript": "Hi.",
    "model_id": "tone",
    "voice": {"mode": "id", "id": "tone"},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 1},
}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/audio/speech", {"input": "Hi.", "model": "tone", "voice": "nobody"}, 400, "unknown_voice"),
        ("/v1/captions", {"input": "", "model": "tone", "voice": "tone"}, 400, "empty_text"),
        ("/v1/text-to-speech/{voice}", {"text": "Hi."}, 404, "unknown_voice"),
        ("/v1/text-to-speech/{voice}/stream", {"text": "Hi."}, 404, "unknown_voice"),
        ("/tts/bytes", CARTESIA, 400, "unknown_format"),
        ("/v1/speak", {}, 400, "bad_message"),
        ("/tts", {"text": "Hi.", "voice": "nobody"}, 404, "unknown_voice"),
    ],
)
async def test_whatever_a_door_tells_its_client_its_errors_are_counted_by_our_code(
    tone_python: Path, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    async with served(tone_python) as server:
        async with httpx.AsyncClient() as client:
            await client.post(f"{server.http}{path.format(voice='nobody')}", json=body)
        ended = server.house.metrics.traffic.ended
    assert list(ended) == [(f"POST {path}", str(status), code)]


@pytest.mark.parametrize(
    ("path", "close_code", "code"),
    [
        ("/stream-tokens?backend=other", "1008", "unknown_backend"),
        ("/stream?text=Hi.&voice=nobody", "1008", "unknown_voice"),
        ("/v1/text-to-speech/tone/stream-input", "1008", "idle_timeout"),
        ("/tts/websocket", "1008", "idle_timeout"),
        ("/v1/speak", "1008", "idle_timeout"),
    ],
)
async def test_a_socket_that_an_error_ends_is_counted_by_its_code(
    tone_python: Path, path: str, close_code: str, code: str
) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, idle_s=0.2))
    idle = "?inactivity_timeout=1" if "stream-input" in path else ""
    async with served(tone_python, limits=limits) as server:
        async with websockets.connect(f"{server.ws}{path}{idle}") as ws:
            await asyncio.wait_for(ws.wait_closed(), TIMEOUT_S)
        ended = server.house.metrics.traffic.ended
        await eventually(lambda: bool(ended), "it is counted")
    assert [(status, told) for _, status, told in ended] == [(close_code, code)]


async def test_a_client_that_is_cut_off_is_counted_with_the_reason(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, idle_s=0.2))
    async with served(tone_python, limits=limits) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await read_answer(ws)
        await eventually(lambda: not server.house.metrics.traffic.open["websocket"], "its end is counted")
        assert server.house.metrics.traffic.ended["WS /stream-tokens", "1008", "idle_timeout"] == 1


async def test_open_connections_and_sent_bytes_are_counted(tone_python: Path) -> None:
    async with served(tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await read_answer(ws, until="ready")
            seen = await scrape(server)
            assert seen["voice_connections{kind=websocket}"] == 1
            assert seen["voice_connections{kind=http}"] == 1  # ours
            before = server.house.metrics.traffic.sent_bytes
            await say(ws, {"token": "Hello.", "done": True})
            answer = await read_answer(ws)
        told = len(answer.audio) + sum(len(json.dumps(message)) for message in answer.messages)
        sent = server.house.metrics.traffic.sent_bytes - before
        assert len(answer.audio) < sent <= told + 200  # spaces in JSON are theirs


async def test_tasks_are_counted_and_go_with_their_clients(tone_python: Path) -> None:
    async with served(tone_python) as server, AsyncExitStack() as visits:

        def tasks() -> float:
            return gauge(server, "voice_tasks")

        before = tasks()
        for _ in range(5):
            await visits.enter_async_context(websockets.connect(f"{server.ws}/stream-tokens"))
        await eventually(lambda: tasks() >= before + 5, "each client has a task")
        await visits.aclose()
        await eventually(lambda: tasks() <= before, "they have ended")


async def test_a_client_that_is_waited_for_is_counted_until_it_is_back(tone_python: Path) -> None:
    async with served(tone_python) as server:
        client = Listener(server, {"keep_open": "1"})
        await client.come()
        assert gauge(server, "voice_absent_streams") == 0
        client.lose()
        await eventually(lambda: gauge(server, "voice_absent_streams") == 1, "its stream waits")
        await client.come_back()
        assert gauge(server, "voice_absent_streams") == 0
        client.ws.transport.abort()


def gauge(server: RunningServer, name: str) -> float:
    families = text_string_to_metric_families(server.house.metrics.text().decode())
    return next(family.samples[0].value for family in families if family.name == name)


async def test_the_process_itself_is_measured(tone_python: Path) -> None:
    async with served(tone_python) as server:
        seen = await scrape(server)
    assert seen["process_resident_memory_bytes{}"] > 10 * 2**20
    assert seen["process_open_fds{}"] > 5
    assert seen["voice_event_loop_lag_seconds_count{}"] == 0  # nobody watches here: main.py does
