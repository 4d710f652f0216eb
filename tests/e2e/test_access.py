"""Who comes in, over real sockets: pages, names, tokens that change, and headers that guard an answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import websockets

from tests.e2e.elevenlabs_client import turn
from tests.harness import (
    TIMEOUT_S,
    RunningServer,
    eventually,
    read_answer,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from voice_server.core import tokens
from voice_server.core.limits import AccessLimits
from voice_server.gateway.access.tokens import TokenFile, Tokens
from voice_server.gateway.doors.page import STATIC

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

EVIL = "https://evil.example"
DOORS = ("/stream-tokens", "/stream?text=Hello.", "/tts", "/transcribe", "/tts/websocket", "/v1/speak")


async def opens(server: RunningServer, path: str, **headers: str) -> int:
    """The status of a handshake: 101 where it was accepted."""
    try:
        async with websockets.connect(server.ws + path, additional_headers=headers):
            return 101
    except websockets.InvalidStatus as error:
        return error.response.status_code


async def get(server: RunningServer, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(server.http + path, headers=headers)


@pytest.mark.parametrize("path", DOORS)
async def test_a3_no_socket_is_opened_for_a_page_from_elsewhere(tone_python: Path, path: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        assert {await opens(server, path, Origin=page) for page in (EVIL, "null", "http://localhost:1")} == {403}
        assert await opens(server, path, Origin=server.http) != 403


async def test_a3_a_page_from_elsewhere_reads_no_answer_and_changes_nothing(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        refused = await get(server, "/voices", origin=EVIL)
        async with httpx.AsyncClient() as client:
            spoken = await client.post(f"{server.http}/tts", json={"text": "Hello."}, headers={"origin": EVIL})
        own = await get(server, "/voices", origin=server.http)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_origin")
    assert (spoken.status_code, own.status_code) == (403, 200)


async def test_a3_a_page_that_the_operator_names_comes_in(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, cors=(EVIL,)) as server:
        assert await opens(server, "/stream-tokens", Origin=EVIL) == 101


async def test_a4_a_name_that_was_made_to_lead_here_opens_neither_http_nor_a_socket(tone_python: Path) -> None:
    rebound = {"host": "evil.example", "origin": "http://evil.example"}
    async with running_server(tone_config(), tone_python) as server:
        answers = [await get(server, path, **rebound) for path in ("/", "/voices", "/page/main.js", "/health")]
        head = b"Host: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /stream-tokens HTTP/1.1\r\n" + head + key)
        handshake = await asyncio.wait_for(reader.readline(), TIMEOUT_S)
        writer.close()
        await writer.wait_closed()
    assert {answer.status_code for answer in answers} == {403}
    assert {answer.json()["error"]["code"] for answer in answers} == {"unknown_host"}
    assert handshake.startswith(b"HTTP/1.1 403")


async def test_a4_with_a_token_a_foreign_name_is_of_no_use_and_no_hindrance(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        known = await get(server, "/voices", host="voice.example", authorization="Bearer secret")
        rebound = await get(server, "/voices", host="evil.example", origin="http://evil.example")
    assert (known.status_code, rebound.status_code) == (200, 401)


# Tokens


@asynccontextmanager
async def guarded(python: Path, table: Path) -> AsyncIterator[RunningServer]:
    """A server whose tokens are in a file that it looks at each time."""
    file = TokenFile(table, replace(AccessLimits(), look_s=0.0))
    async with running_server(tone_config(), python, tokens=Tokens(file=file)) as server:
        yield server


def write(table: Path, *lines: str) -> None:
    """As a careful operator does it: at once."""
    beside = table.with_suffix(".new")
    beside.write_text("\n".join(lines))
    os.replace(beside, table)


async def test_a_token_that_is_taken_away_opens_nothing_and_what_it_opened_goes_on(
    tone_python: Path, tmp_path: Path
) -> None:
    table = tmp_path / "tokens"
    write(table, tokens.line("ada", "one"))
    async with guarded(tone_python, table) as server:
        headers = {"Authorization": "Bearer one"}
        async with websockets.connect(f"{server.ws}/stream-tokens", additional_headers=headers) as ws:
            write(table, tokens.line("bob", "two"))
            assert await opens(server, "/stream-tokens", **headers) == 401
            assert await opens(server, "/stream-tokens", Authorization="Bearer two") == 101
            await say(ws, {"token": "Hello there.", "done": True})
            assert (await read_answer(ws)).audio == tone_bytes("Hello there.")


async def test_a_load_balancer_needs_no_token_to_ask_whether_we_are_ready_and_is_told_nothing_else(
    tone_python: Path,
) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        paths = ("/ready", "/health")
        strangers = [await get(server, path, authorization=key) for path in paths for key in ("", "Bearer wrong")]
        known = await get(server, "/ready", authorization="Bearer secret")
        server.house.is_draining = True
        leaving = await get(server, "/ready")
        told = await get(server, "/ready", authorization="Bearer secret")
    assert [(answer.status_code, *answer.json()) for answer in strangers] == [(200, "status")] * 4
    assert known.json() == {"status": "ready", "backends": ["tone"], "listening": []}
    assert (leaving.status_code, leaving.json()) == (503, {"status": "not ready"})
    assert (told.status_code, told.json()["reason"]) == (503, "shutting down")


async def test_who_speaks_is_shown_by_the_name_of_its_token(tone_python: Path, tmp_path: Path) -> None:
    table = tmp_path / "tokens"
    write(table, tokens.line("ada", "one"), tokens.line("bob", "two"))
    async with guarded(tone_python, table) as server:
        one = websockets.connect(f"{server.ws}/stream-tokens", additional_headers={"xi-api-key": "one"})
        two = websockets.connect(f"{server.ws}/stream-tokens?api_key=two")
        async with one, two:
            await eventually(lambda: len(server.backend.streams) == 2, "both are there")
            status = await get(server, "/status", authorization="Bearer one")
    assert {stream["client"] for stream in status.json()["backends"][0]["streams"]} == {"ada", "bob"}
    assert "two" not in status.text


async def test_a_key_in_a_first_message_names_its_owner_too(tone_python: Path, tmp_path: Path) -> None:
    table, seen = tmp_path / "tokens", set()
    write(table, tokens.line("ada", "one"))
    async with guarded(tone_python, table) as server:
        path = "/v1/text-to-speech/tone/multi-stream-input?output_format=pcm_24000"
        async with websockets.connect(server.ws + path) as ws:
            await say(ws, {"text": " ", "context_id": "a", "xi_api_key": "one"})
            await eventually(lambda: bool(server.backend.streams), "a stream was opened")
            status = await get(server, "/status", authorization="Bearer one")
            seen = {stream["client"] for stream in status.json()["backends"][0]["streams"]}
            assert (await turn(ws, "a", "Hello there.")).audio == tone_bytes("Hello there.")
    assert seen == {"ada"}


# What an answer says to a browser


async def test_a6_no_answer_is_taken_for_another_kind_or_passes_its_address_on(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        key = {"authorization": "Bearer secret"}
        answers = [await get(server, path, **key) for path in ("/voices", "/status", "/metrics", "/nowhere", "/docs")]
        answers += [await get(server, "/voices"), await get(server, "/health")]
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
    assert {answer.headers["referrer-policy"] for answer in answers} == {"no-referrer"}


def test_a6_the_page_runs_nothing_of_what_it_shows() -> None:
    pages = [path.read_text() for path in STATIC.rglob("*.html")]
    scripts = [path.read_text() for path in STATIC.rglob("*.js")]
    assert pages and scripts
    for forbidden in ("onclick=", "onload=", "onerror=", "javascript:", "<script>", "style="):
        assert not any(forbidden in page for page in pages), forbidden
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert not any(forbidden in script for script in scripts), forbidden
