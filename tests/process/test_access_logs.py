"""A2: neither a token nor a word that a client said stands in the log of a server, however much it logs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import websockets

from tests.harness import TIMEOUT_S, wait_until
from tests.server_process import ServerProcess, server_process
from voice_server.core import tokens

pytestmark = pytest.mark.usefixtures("no_leaks")

TOKEN, WRONG = "t0p-s3cret-t0ken", "a-wr0ng-t0ken"
WORD = "Xylophonist"  # said at every door, and nowhere else
TEXT = f"The {WORD} plays."
OPTIONS: dict[str, Any] = {"model": "tone", "voice": "tone"}
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", f"/voices?api_key={TOKEN}&text={WORD}", {}),
    ("GET", f"/nowhere?xi-api-key={TOKEN}&text={WORD}", {}),
    ("GET", f"/voices?api_key={WRONG}", {}),
    ("POST", "/tts", {"json": {"text": TEXT}}),
    ("POST", "/tts", {"json": {"text": TEXT, "voice": WORD}}),
    ("POST", "/tts", {"json": {"text": TEXT, "opts": {"fault": "raise"}}}),
    ("POST", "/tts", {"json": {"text": TEXT, "opts": {"speed": WORD}}}),
    ("POST", "/tts", {"content": f'{{"text": "{WORD}'}),
    ("POST", "/v1/audio/speech", {"json": {"input": TEXT, "response_format": "wav", **OPTIONS}}),
    ("POST", "/v1/text-to-speech/tone?output_format=pcm_24000", {"json": {"text": TEXT}}),
    ("POST", f"/v1/speak?encoding=linear16&api_key={TOKEN}", {"json": {"text": TEXT}}),
    ("POST", "/chat", {"json": {"messages": [{"role": "user", "content": TEXT}]}}),
    ("POST", "/v1/audio/voices", {"data": {"name": "ada", "transcript": TEXT}, "files": {"audio_sample": b"noise"}}),
    ("PUT", f"/tts?api_key={TOKEN}", {"content": TEXT}),
]
SOCKETS: list[tuple[str, list[str]]] = [
    (f"/stream-tokens?api_key={TOKEN}", [json.dumps({"token": TEXT, "done": True})]),
    (f"/stream-tokens?api_key={TOKEN}&voice={WORD}", []),
    ("/stream-tokens", ["{" + WORD, json.dumps({"token": {WORD: 1}}), json.dumps({"voice": WORD, "done": True})]),
    (f"/stream-tokens?api_key={WRONG}", []),
    (f"/stream?text={WORD}&api_key={TOKEN}", []),
    (
        "/v1/text-to-speech/tone/stream-input?output_format=pcm_24000",
        [json.dumps({"text": f"{TEXT} ", "xi_api_key": TOKEN}), json.dumps({"text": ""})],
    ),
    (
        "/v1/text-to-speech/tone/stream-input?output_format=pcm_24000",
        [json.dumps({"text": f"{TEXT} ", "xi_api_key": WRONG})],
    ),
    ("/v1/speak?encoding=linear16", [json.dumps({"type": "Speak", "text": TEXT}), json.dumps({"type": "Flush"})]),
    ("/tts", [json.dumps({"text": TEXT, "request_id": WORD})]),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """All that a server said which logs whatever it can, after all doors were used, well and badly."""
    folder = tmp_path_factory.mktemp("log")
    table = folder / "tokens"
    table.write_text(tokens.line("ada", TOKEN))
    with server_process(folder, "--tokens", str(table), "--log-level", "debug") as server:
        asyncio.run(_use(server))
        table.write_text(f"ada {TOKEN}")  # a mistake
        wait_until(lambda: _has_told_of_the_mistake(server), "the server looks at its tokens again")
        server.send(signal.SIGTERM)
        assert server.wait() == 0
        yield server.stderr


def _has_told_of_the_mistake(server: ServerProcess) -> bool:
    asyncio.run(_post(server, "GET", f"/voices?api_key={TOKEN}", {}))
    return "the tokens are those from before" in server.stderr


async def _use(server: ServerProcess) -> None:
    await asyncio.gather(*(_talk(server, *socket) for socket in SOCKETS))
    for request in REQUESTS:
        await _post(server, *request)


async def _post(server: ServerProcess, method: str, path: str, how: dict[str, Any]) -> None:
    headers = {} if "api_key" in path or "api-key" in path else {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        await client.request(method, f"http://127.0.0.1:{server.port}{path}", headers=headers, **how)


async def _talk(server: ServerProcess, path: str, messages: list[str]) -> None:
    headers = {} if "api_key" in path or "stream-input" in path else {"Authorization": f"Token {TOKEN}"}
    with contextlib.suppress(websockets.ConnectionClosed, websockets.InvalidStatus, asyncio.TimeoutError):
        async with websockets.connect(server.ws + path, additional_headers=headers) as ws:
            for message in messages:
                await ws.send(message)
            while True:
                await asyncio.wait_for(ws.recv(), 2.0)


def test_a2_the_log_tells_of_all_this(log: str) -> None:
    for told in (
        "'/stream-tokens'",
        "'/nowhere' 404",
        "'/tts' 200",
        "'/voices' 401",
        "the tokens are those from before",
    ):
        assert told in log, told


@pytest.mark.parametrize("key", [TOKEN, WRONG])
def test_a2_no_token_stands_in_it_in_any_form(log: str, key: str) -> None:
    plain = key.encode()
    for form in (key, base64.b64encode(plain).decode().rstrip("="), plain.hex(), tokens.digest(key).hex()):
        assert form not in log


def test_a2_no_word_of_a_client_stands_in_it(log: str) -> None:
    assert WORD.lower() not in log.lower()
