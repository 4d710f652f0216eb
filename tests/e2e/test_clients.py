"""Clients that vanish, stall or crowd: C1, C3, C5, C8 of the fault list."""

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


async def test_c1_a_good_client_is_served_beside_ten_that_do_not_read(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        unread = [{"token": LONG * 30}] * 4
        bad = [await asyncio.to_thread(_raw_client, server.port, *unread, {"done": True}) for _ in range(10)]
        answer = await ask(server.ws, {"token": TEXT, "done": True})
        assert answer.audio == tone_bytes(TEXT)
        for raw in bad:
            raw.close()


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
async def test_c3_a_client_that_vanishes_frees_its_worker_within_a_chunk(tone_python: Path, reset: bool) -> None:
    """Twenty times: the worker is idle again soon after the client went, though its sentence was far from over."""
    slow = tone_config(speed_rtf=1.0, chunk_ms=50)
    freed_s: list[float] = []
    async with running_server(slow, tone_python) as server:
        for _ in range(20):
            ws = await websockets.connect(f"{server.ws}/stream-tokens")
            await say(ws, {"token": LONG, "flush": True})
            while not isinstance(await ws.recv(), bytes):
                pass
            if reset:
                linger = struct.pack("ii", 1, 0)
                ws.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            ws.transport.abort()
            begin = time.monotonic()
            await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free")
            freed_s.append(time.monotonic() - begin)
    print(
        f"freed after {1000 * sorted(freed_s)[len(freed_s) // 2]:.0f} ms (median), {1000 * max(freed_s):.0f} ms (max)"
    )
    assert sorted(freed_s)[len(freed_s) // 2] < 0.15


async def test_c5_idle_connections_do_not_disturb_an_active_one(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        idle = [await websockets.connect(f"{server.ws}/stream-tokens") for _ in range(200)]
        answer = await ask(server.ws, {"token": TEXT, "done": True})
        assert answer.audio == tone_bytes(TEXT)
        for ws in idle:
            ws.transport.abort()


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
