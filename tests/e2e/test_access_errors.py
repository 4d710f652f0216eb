"""A7: what an error says holds no path, no traceback and no other client's words, whatever was sent to which door."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness import RunningServer, running_server, say, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

OTHERS = "Xylophonist"  # what somebody else says meanwhile
TEACHES = re.compile(r"Traceback|File \"|/\w+/\w+\.py|\.py\b|site-packages|\bline \d+, in\b|object at 0x|[A-Za-z]:\\\\")
POSTS = (
    "/tts",
    "/v1/audio/speech",
    "/v1/captions",
    "/v1/text-to-speech/tone",
    "/v1/text-to-speech/tone/stream",
    "/tts/bytes",
    "/v1/speak",
    "/v1/audio/voices",
    "/v1/audio/transcriptions",
    "/convert",
    "/chat",
    "/loras/load",
)
SOCKETS = (
    "/stream-tokens",
    "/tts",
    "/tts/websocket",
    "/v1/speak",
    "/transcribe",
    "/v1/text-to-speech/tone/stream-input",
    "/v1/text-to-speech/tone/multi-stream-input",
)
KEYS = st.sampled_from(
    [
        "text",
        "input",
        "token",
        "voice",
        "voice_id",
        "opts",
        "model",
        "model_id",
        "language",
        "transcript",
        "messages",
        "response_format",
        "output_format",
        "sample_rate",
        "speed",
        "context_id",
        "type",
        "name",
        "flush",
        "done",
        "mode",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["Speak", "tone"]),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(KEYS, some, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(KEYS, VALUES, max_size=5).map(lambda said: json.dumps(said).encode()) | st.binary(max_size=60)
FEW = settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)


@asynccontextmanager
async def shared(python: Path) -> AsyncIterator[RunningServer]:
    """A server at which somebody else is speaking."""
    async with running_server(tone_config(), python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as other:
            await say(other, {"token": f"The {OTHERS} goes on and"})
            yield server


def check(told: str) -> None:
    assert not TEACHES.search(told), told
    assert OTHERS not in told


async def test_a7_no_http_error_teaches_anything_about_the_server(tone_python: Path) -> None:
    async with shared(tone_python) as server, httpx.AsyncClient(base_url=server.http, timeout=20) as client:

        async def post(path: str, body: bytes, kind: str) -> None:
            answer = await client.post(path, content=body, headers={"content-type": kind})
            if answer.status_code >= 400:
                check(answer.text)
                assert answer.status_code != 500, (path, body, answer.text)

        kinds = st.sampled_from(["application/json", "multipart/form-data; boundary=x", "text/plain", ""])
        await _try(st.tuples(st.sampled_from(POSTS), BODIES, kinds), post)


async def test_a7_no_address_teaches_anything_about_the_server(tone_python: Path) -> None:
    paths = ["/page/..%2f..%2fpage.py", "/page/%00", "/v1/audio/voices/..%2f..%2fetc%2fpasswd/sample", "//", "/%ff"]
    queries = ["?backend=..%2f", "?format=%00&sample_rate=x", "?voice=%ed%a0%80"]
    async with shared(tone_python) as server, httpx.AsyncClient(base_url=server.http, timeout=20) as client:
        for path in [*paths, *(f"{path}{query}" for path in (*POSTS, "/voices", "/loras") for query in queries)]:
            for method in ("GET", "POST", "DELETE"):
                answer = await client.request(method, path)
                check(answer.text)
                assert answer.status_code != 500, (method, path, answer.text)


async def test_a7_no_message_of_a_socket_teaches_anything_about_the_server(tone_python: Path) -> None:
    async with shared(tone_python) as server:

        async def talk(path: str, messages: list[bytes]) -> None:
            try:
                ws = await websockets.connect(server.ws + path)
            except websockets.InvalidStatus as refused:
                check(refused.response.body.decode())
                return
            with contextlib.suppress(websockets.ConnectionClosed):
                async with ws:
                    for message in messages:
                        await ws.send(message.decode(errors="replace"))
                    with contextlib.suppress(asyncio.TimeoutError):
                        while True:
                            told = await asyncio.wait_for(ws.recv(), 0.05)
                            check(told if isinstance(told, str) else "")
            assert ws.close_code != 1011, (path, messages)

        await _try(st.tuples(st.sampled_from(SOCKETS), st.lists(BODIES, min_size=1, max_size=3)), talk)


async def _try(examples: st.SearchStrategy[tuple[Any, ...]], use: Any) -> None:
    """Examples are drawn in a thread, since drawing them is not asynchronous; each is used on this loop."""
    loop = asyncio.get_running_loop()

    @FEW
    @given(examples)
    def each(example: tuple[Any, ...]) -> None:
        asyncio.run_coroutine_threadsafe(use(*example), loop).result()

    await asyncio.to_thread(each)
