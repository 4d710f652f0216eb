"""The HTTP doors and WS `/stream` over real sockets."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import websockets

from tests.harness import RunningServer, running_server, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "Hello there. How are you today?"
SENTENCES = ("Hello there.", "How are you today?")


async def _post(server: RunningServer, body: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await client.post(f"{server.http}/tts", content=content)


async def test_tts_answers_a_wav_with_true_sizes(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, {"text": TEXT, "voice": "", "cfg_scale": 1.5})
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    samples, rate = soundfile.read(io.BytesIO(response.content), dtype="int16")
    assert rate == 24000
    assert samples.tobytes() == tone_bytes(*SENTENCES)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": ""}, 400, "empty_text"),
        ({"text": "  \n"}, 400, "empty_text"),
        ({}, 400, "bad_message"),
        ({"text": 5}, 400, "bad_message"),
        (b"{", 400, "bad_message"),
        (b"[" * 60_000, 400, "bad_message"),
        (b"\xff\xfe", 400, "bad_message"),
        ({"text": "a" * 9_000}, 413, "text_too_long"),
        ({"text": "a" * 100_000}, 413, "text_too_long"),
        ({"text": TEXT, "voice": "nobody"}, 404, "unknown_voice"),
        ({"text": TEXT, "voice": "../../etc/passwd"}, 404, "unknown_voice"),
        ({"text": TEXT, "opts": {"speed": 9}}, 400, "bad_option"),
        ({"text": TEXT, "backend": "other"}, 404, "unknown_backend"),
        ({"text": TEXT, "play_local": True}, 400, "bad_message"),
        ({"text": TEXT, "opts": {"fault": "raise@0"}}, 500, "sentence_failed"),
        ({"text": "```\ncode\n```"}, 400, "empty_text"),
    ],
)
async def test_tts_names_what_is_wrong(tone_python: Path, body: Any, status: int, code: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, body)
    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert "Traceback" not in response.text


async def test_a_client_of_tts_that_leaves_frees_the_worker(tone_python: Path) -> None:
    from tests.harness import eventually

    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with httpx.AsyncClient(timeout=0.5) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.post(f"{server.http}/tts", json={"text": TEXT * 5})
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free", 2.0)


async def test_stream_sends_pcm_then_done(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream?text=Hello%20there.&voice=tone") as ws:
            got = [message async for message in ws]
    assert b"".join(part for part in got if isinstance(part, bytes)) == tone_bytes("Hello there.")
    assert json.loads(got[-1]) == {"done": True}


async def test_stream_without_text_closes_with_1008(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream") as ws:
            assert json.loads(await ws.recv())["code"] == "empty_text"
            await ws.wait_closed()
            assert ws.close_code == 1008


async def test_the_telling_doors(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            got = {path: (await client.get(path)).json() for path in ("/", "/voices", "/backends", "/health", "/ready")}
    assert got["/"] == {"backend": "tone", "voices": 3, "sample_rate": 24000, "native_sample_rate": 24000}
    assert got["/voices"]["voices"] == ["tone", "low", "high"]
    assert got["/backends"]["backends"][0]["workers"][0]["state"] == "ready"
    assert got["/health"] == {"status": "alive"}
    assert got["/ready"]["status"] == "ready"


async def test_ready_says_why_not(tone_python: Path) -> None:
    async with running_server(tone_config(load_fault="config"), tone_python, wait=False) as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            while "failed" not in (response := await client.get("/ready")).text:
                assert response.status_code == 503
    assert response.status_code == 503
    assert response.json()["reason"].startswith("tone-0: failed (")
