"""The OpenAI doors over real sockets, byte for byte."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import soundfile

from tests.harness import FAST, RunningServer, eventually, running_server, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "Hello there. How are you today?"
SENTENCES = ("Hello there.", "How are you today?")
SPOKEN = {"model": "tts-1", "input": TEXT, "voice": "alloy"}


async def _post(server: RunningServer, path: str = "/v1/audio/speech", **body: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(f"{server.http}{path}", json={**SPOKEN, **body})


def _events(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n\n") if line]


async def test_pcm_is_what_the_backend_spoke(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, response_format="pcm")
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/pcm"
    assert response.content == tone_bytes(*SENTENCES)


async def test_without_a_format_it_is_mp3(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server)
    assert response.headers["content-type"] == "audio/mpeg"
    info = soundfile.info(io.BytesIO(response.content))
    assert 0 <= info.duration - len(tone_bytes(*SENTENCES)) / 48_000 < 0.075


async def test_a_streamed_wav_has_no_length_and_a_whole_one_its_true_length(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        streamed = await _post(server, response_format="wav")
        whole = await _post(server, response_format="wav", stream=False)
    spoken = tone_bytes(*SENTENCES)
    assert struct.unpack("<I", streamed.content[40:44])[0] == 0xFFFFFFFF
    assert struct.unpack("<I", whole.content[40:44])[0] == len(spoken) == int(whole.headers["content-length"]) - 44
    assert streamed.content[44:] == whole.content[44:] == spoken


async def test_server_sent_events_hold_the_same_audio_and_end_with_usage(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, response_format="pcm", stream_format="sse")
    assert response.headers["content-type"] == "text/event-stream"
    *deltas, done = _events(response.content)
    assert {delta["type"] for delta in deltas} == {"speech.audio.delta"}
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == tone_bytes(*SENTENCES)
    spoken_ms = round(len(tone_bytes(*SENTENCES)) / 48)
    usage = {"input_tokens": len(TEXT), "output_tokens": spoken_ms, "total_tokens": len(TEXT) + spoken_ms}
    assert done == {"type": "speech.audio.done", "usage": usage}


async def test_audio_flows_while_the_rest_is_spoken(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server:
        async with httpx.AsyncClient() as client:
            began, first = time.monotonic(), 0.0
            body = {**SPOKEN, "response_format": "mp3"}
            async with client.stream("POST", f"{server.http}/v1/audio/speech", json=body) as response:
                async for _ in response.aiter_raw():
                    first = first or time.monotonic() - began
            assert first < 0.5 * (time.monotonic() - began)


async def test_another_rate_is_given_to_who_asks_for_it(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, response_format="wav", sample_rate=16_000, stream=False)
    info = soundfile.info(io.BytesIO(response.content))
    assert info.samplerate == 16_000
    assert info.duration == pytest.approx(len(tone_bytes(*SENTENCES)) / 48_000, abs=0.002)


@pytest.mark.parametrize("voice", ["high", {"id": "high"}])
async def test_a_voice_is_a_name_or_an_object(tone_python: Path, voice: Any) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, response_format="pcm", voice=voice)
    assert response.content == tone_bytes(*SENTENCES, voice="high")


async def test_the_backend_is_a_model_and_speed_an_option(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, response_format="pcm", model="tone", speed=2.0, instructions="Be cheerful.")
    assert response.content == tone_bytes(*SENTENCES, speed=2.0)


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"input": ""}, 400, "empty_text", "input"),
        ({"input": 5}, 400, "bad_message", "input"),
        ({"input": "a" * 8193}, 400, "text_too_long", "input"),
        ({"voice": "nobody"}, 400, "unknown_voice", "voice"),
        ({"model": "whisper-1"}, 404, "model_not_found", "model"),
        ({"model": "../tone"}, 404, "model_not_found", "model"),
        ({"backend": "other"}, 404, "model_not_found", "backend"),
        ({"response_format": "ogg"}, 400, "unknown_format", "response_format"),
        ({"response_format": "opus", "sample_rate": 44_100}, 400, "unknown_format", "sample_rate"),
        ({"sample_rate": 100}, 400, "bad_message", "sample_rate"),
        ({"speed": 5}, 400, "bad_message", "speed"),
        ({"opts": {"speed": 9}}, 400, "bad_option", "speed"),
        ({"stream_format": "tape"}, 400, "bad_message", "stream_format"),
        ({"opts": {"fault": "raise@0"}}, 500, "sentence_failed", None),
        ({"opts": {"fault": "raise@0"}, "stream": False}, 500, "sentence_failed", None),
    ],
)
async def test_what_is_wrong_is_said_as_openai_says_it(
    tone_python: Path, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, **body)
    assert response.status_code == status
    assert response.headers["x-request-id"]
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert error["message"]


async def test_a_text_with_nothing_to_speak_is_an_error_and_no_empty_file(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        responses = [await _post(server, input="```\ncode\n```", stream=stream) for stream in (True, False)]
    assert [response.status_code >= 400 for response in responses] == [True, True]
    assert responses[0].json() == responses[1].json()


async def test_an_engine_that_fails_midway_cuts_the_connection(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await _post(server, response_format="pcm", opts={"fault": "raise@3"})


async def test_an_engine_that_fails_midway_says_so_in_events_and_cuts_the_connection(tone_python: Path) -> None:
    got = b""
    async with running_server(tone_config(), tone_python) as server:
        body = {**SPOKEN, "stream_format": "sse", "opts": {"fault": "raise@3"}}
        async with httpx.AsyncClient() as client:
            with pytest.raises(httpx.RemoteProtocolError):
                async with client.stream("POST", f"{server.http}/v1/audio/speech", json=body) as response:
                    async for part in response.aiter_raw():
                        got += part
    last = _events(got)[-1]
    assert last["type"] == "speech.audio.error"
    assert last["error"]["code"] == "sentence_failed"


@pytest.mark.parametrize("body", [{"stream": True}, {"stream": False}, {"stream_format": "sse"}])
async def test_a_client_that_leaves_frees_the_worker(tone_python: Path, body: dict[str, Any]) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with httpx.AsyncClient() as client:
            asking = asyncio.create_task(
                client.post(f"{server.http}/v1/audio/speech", json={**SPOKEN, "input": TEXT * 5, **body})
            )
            await eventually(lambda: server.backend.pool.slots[0].open_renders == 1, "the worker speaks")
            asking.cancel()
            await asyncio.wait([asking])
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free", 2.0)
        await eventually(lambda: not server.backend.streams, "no stream is open", 2.0)


async def test_a_client_that_does_not_read_is_cut_off(tone_python: Path) -> None:
    """By the gateway itself: the kernel would do it much later."""
    limits = replace(FAST, stream=replace(FAST.stream, tcp_user_timeout_s=60.0))
    async with running_server(tone_config(seconds_per_char=0.5), tone_python, limits=limits) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
        body = json.dumps(
            {**SPOKEN, "input": "Yes, this is it. " * 60, "response_format": "pcm", "sample_rate": 48_000}
        )
        head = f"POST /v1/audio/speech HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await eventually(lambda: not server.house.gate.requests, "the request is over")
        await eventually(lambda: not server.backend.streams, "no stream is open")
        await eventually(lambda: not _open_connections(server.port), "the connection is closed")
        writer.close()


def _open_connections(port: int) -> list[Any]:
    """The gateway's ends of connections; it runs in this process."""
    ends = psutil.Process().net_connections("tcp")
    return [end for end in ends if end.laddr.port == port and end.status == psutil.CONN_ESTABLISHED]


async def test_a_backend_that_does_not_load_is_told_at_once_with_the_time_to_wait(tone_python: Path) -> None:
    async with running_server(tone_config(load_fault="config"), tone_python, wait=False) as server:
        response = await _post(server)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["code"] == "backend_unavailable"


async def test_models_are_the_backends_and_the_names_that_clients_expect(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            listed = (await client.get("/v1/models")).json()
            one, none = await client.get("/v1/models/tone"), await client.get("/v1/models/other")
    assert [model["id"] for model in listed["data"]] == ["tone", "tts-1", "tts-1-hd", "gpt-4o-mini-tts"]
    assert one.json() == {"id": "tone", "object": "model", "created": 0, "owned_by": "voice-server"}
    assert (none.status_code, none.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("query", ["", "?model=tone", "?model=tts-1"])
async def test_voices_are_listed_with_their_model(tone_python: Path, query: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            listed = (await client.get(f"/v1/audio/voices{query}")).json()["voices"]
    known = {"model": "tone", "kind": "engine", "backends": ["tone"]}
    assert listed == [{"id": name, "name": name, **known} for name in ("tone", "low", "high")]


async def test_captions_follow_the_true_times_of_the_sentences(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        srt = await _post(server, "/v1/captions")
        vtt = await _post(server, "/v1/captions", format="vtt")
    assert srt.headers["content-type"].startswith("application/x-subrip")
    assert srt.text == (
        "1\n00:00:00,000 --> 00:00:00,720\nHello there.\n\n2\n00:00:00,720 --> 00:00:01,800\nHow are you today?\n\n"
    )
    assert vtt.headers["content-type"].startswith("text/vtt")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.720\nHello there.\n\n")


async def test_captions_of_what_cannot_be_spoken_are_an_error(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, "/v1/captions", opts={"fault": "raise@0"})
    assert response.json()["error"]["code"] == "sentence_failed"
