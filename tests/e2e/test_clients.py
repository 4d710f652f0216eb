"""Clients that stall or are one too many: C1 and C8 of the fault list. Crowds and lines have files of their own."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import struct
import time
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest
import websockets

from tests.harness import FAST, TIMEOUT_S, ask, eventually, read_answer, running_server, say, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

LONG = "This sentence goes on for a while and it is spoken again and again until nobody can bear it any more. "
TEXT = "Hello there."


def _raw_client(port: int, *messages: dict[str, object]) -> socket.socket:
    """A WebSocket that never reads: small buffers, handshake and masked text frames by hand (RFC 6455 §5.2)."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = "Host: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
    raw.sendall(f"GET /stream-tokens HTTP/1.1\r\n{upgrade}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    assert raw.recv(12) == b"HTTP/1.1 101"
    for message in messages:
        payload = json.dumps(message).encode()
        size = bytes([0x80 + len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
        raw.sendall(b"\x81" + size + b"\0\0\0\0" + payload)  # a mask of zeros
    return raw


def _server_sides(port: int) -> int:
    """Established connections that this process serves on the port."""
    established = psutil.Process().net_connections("tcp")
    return sum(1 for one in established if one.laddr.port == port and one.status == psutil.CONN_ESTABLISHED)


async def test_c1_a_client_that_does_not_read_is_cut_off_and_frees_its_worker(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        rss = psutil.Process().memory_info().rss
        raw = await asyncio.to_thread(_raw_client, server.port, *[{"token": LONG * 30}] * 4, {"done": True})
        with raw:
            await eventually(lambda: _server_sides(server.port) == 1, "the server has the connection")
            begin = time.monotonic()
            await eventually(lambda: _server_sides(server.port) == 0, "the server side of the socket is gone")
            assert time.monotonic() - begin < FAST.stream.send_s + FAST.stream.tcp_user_timeout_s + 2
            assert psutil.Process().memory_info().rss - rss < 8 * 2**20
            assert (await ask(server.ws, {"token": TEXT, "done": True})).audio == tone_bytes(TEXT)


async def test_c8_too_many_connections_are_refused_in_the_handshake(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, connections_per_address=2))
    async with running_server(tone_config(), tone_python, limits=limits) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as first:
            async with websockets.connect(f"{server.ws}/stream-tokens"):
                with pytest.raises(websockets.InvalidStatus) as refusal:
                    await websockets.connect(f"{server.ws}/stream-tokens")
                await say(first, {"token": TEXT, "done": True})
                assert (await read_answer(first)).audio == tone_bytes(TEXT)
    assert refusal.value.response.status_code == 503
    assert refusal.value.response.headers["Retry-After"]


async def test_a_stream_that_no_worker_takes_is_told_so_and_then_turned_away(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.3))
    async with running_server(tone_config(speed_rtf=1.0), tone_python, limits=limits) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as busy:
            await say(busy, {"token": LONG, "flush": True})
            await read_answer(busy, until="generating")
            answer = await ask(server.ws, {"token": TEXT, "done": True})
    assert answer.of_type("queued")[0] == {"type": "queued", "position": 1, "reason": "busy"}
    assert answer.codes == ["overloaded"]
    assert answer.close_code == 1013


async def test_a_whole_file_waits_longer_than_a_listener_would(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.1))
    async with running_server(tone_config(speed_rtf=0.5), tone_python, limits=limits) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as busy:
            await say(busy, {"token": LONG, "done": True})
            await read_answer(busy, until="generating")
            async with httpx.AsyncClient() as http:
                response = await http.post(f"{server.http}/tts", json={"text": TEXT}, timeout=TIMEOUT_S)
    assert response.status_code == 200


async def test_the_token_is_wanted_at_every_door_but_health(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        with pytest.raises(websockets.InvalidStatus) as refusal:
            await websockets.connect(f"{server.ws}/stream-tokens")
        headers = {"Authorization": "Bearer secret"}
        async with websockets.connect(f"{server.ws}/stream-tokens", additional_headers=headers) as ws:
            await say(ws, {"token": TEXT, "done": True})
            answer = await asyncio.wait_for(read_answer(ws), 10)
    assert refusal.value.response.status_code == 401
    assert answer.audio == tone_bytes(TEXT)


async def test_a_stream_that_was_refused_is_not_turned_away_again_when_the_backend_is_back(
    tone_python: Path, tmp_path: Path
) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.3))
    out_of_order = tmp_path / "out of order"
    out_of_order.touch()
    config = tone_config(load_fault=f"while={out_of_order};raise")
    async with running_server(config, tone_python, limits=limits, wait=False) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?keep_open=1") as ws:
            await say(ws, {"token": TEXT, "done": True})
            assert (await read_answer(ws)).codes == ["backend_unavailable"]
            out_of_order.unlink()
            await eventually(lambda: server.backend.pool.is_ready, "the backend is back")
            await asyncio.sleep(2 * limits.stream.queue_wait_s)  # the time in which it must not happen
            await say(ws, {"token": TEXT, "done": True})
            answer = await read_answer(ws)
    assert answer.codes == []
    assert answer.audio == tone_bytes(TEXT)
