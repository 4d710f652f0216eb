"""Clients that stall, vanish, babble and crowd. Each says what the gateway owed it and did not do; "" is well done.

They come from addresses of their own, so that the limits of an address never meet an honest client.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Awaitable, Callable

import psutil
import websockets

from bench.gateway import Gateway
from bench.soak.schedule import Fault, Kind
from bench.soak.texts import Manner

_CUT_S = 90.0  # the gateway's patience with a send is 10 s; before that its worker has to fill the socket's buffers
_FLOOD = 100
_TEXT = "This sentence goes on for a while and it is spoken again and again until nobody can bear it any more. "
_GOOD_TEXT = "After all that noise this is still spoken."

NONSENSE = (
    b"{",
    b"1",
    b"[]",
    b"[" * 60_000,
    b'{"token": NaN}',
    b'{"token": 1e999}',
    b'{"token": 5, "done": "yes"}',
    b'{"sample_rate": 1}',
    b'{"opts": {"speed": 1e9}}',
    b'{"opts": {"speed": null, "nothing": []}}',
    b'{"voice": "../../etc/passwd"}',
    b'{"token": "\\ud800"}',
    b'{"nonsense": {"a": {"b": {}}}',
    b'{"cancel": 0, "flush": "x"}',
    b"null",
    b'"' + b"x" * 60_000 + b'"',
)
# Each breaks RFC 6455 in another way: the server has to close.
BAD_FRAMES = (
    b"\x81\x05hello",  # not masked
    b"\x83\x80\0\0\0\0",  # a reserved opcode
    b"\xf1\x80\0\0\0\0",  # reserved bits
    b"\x81\xff\x7f" + b"\xff" * 7 + b"\0\0\0\0",  # 2**63 bytes to come
    b"\x81\x82\0\0\0\0\xc3\x28",  # not UTF-8
    b"\x09\x80\0\0\0\0",  # a ping in fragments
    b"\x89\xfe\0\x80\0\0\0\0" + bytes(128),  # a ping that is too long
    b"\x80\x80\0\0\0\0",  # goes on with a message that was not begun
    b"\x88\x81\0\0\0\0\x03",  # a close with half a code
    b"\x81\xfe\xff\xff\0\0\0\0" + b"{" * 65_535 + b"\x01\xff\0\0\0\0\0\1\0\0\0\0\0\0" + b"x" * 65_536,
)
_UPGRADE = "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"


async def stall(gateway: Gateway, address: str, fault: Fault) -> str:
    """A slow client: asks for a long answer and reads nothing of it."""
    raw = await _raw_client(gateway.port, address, receive_bytes=4096)
    with raw:
        said = json.dumps({"sample_rate": 48_000, "token": _TEXT * 30, "done": False}).encode()
        await _send(raw, b"".join(_masked(said) for _ in range(4)) + _masked(b'{"flush": true}'))
        return await _until_cut_off(gateway, address)


async def vanish(gateway: Gateway, address: str, fault: Fault) -> str:
    """A client that is gone in the middle of its answer, with a reset."""
    url = f"ws://127.0.0.1:{gateway.port}/stream-tokens"
    async with websockets.connect(url, local_addr=(address, 0), compression=None) as ws:
        await ws.send(json.dumps({"token": _TEXT * 3, "flush": True}))
        for _ in range(int(fault.luck * 20)):
            await ws.recv()
        raw = ws.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ws.transport.abort()
    return ""


async def babble(gateway: Gateway, address: str, fault: Fault) -> str:
    """Garbage instead of JSON. Every piece of it is an error, and none harms the answer that comes behind."""
    url = f"ws://127.0.0.1:{gateway.port}/stream-tokens"
    async with websockets.connect(url, local_addr=(address, 0), compression=None) as ws:
        await ws.recv()
        for message in NONSENSE:
            await ws.send(message, text=True)
        await ws.send(os.urandom(100))
        errors = [json.loads(await ws.recv()) for _ in range(len(NONSENSE) + 1)]
        if strange := [told for told in errors if told["type"] != "error"]:
            return f"not an error: {strange[0]}"
        await ws.send(json.dumps({"cancel": True, "token": _GOOD_TEXT, "done": True}))
        return _judge_good([message async for message in ws])


def _judge_good(messages: list[str | bytes]) -> str:
    told = [json.loads(message) for message in messages if isinstance(message, str)]
    if any(one["type"] == "error" for one in told):
        return ""  # a fault of a worker met it; that is for those who are honest to judge
    pcm = b"".join(message for message in messages if isinstance(message, bytes))
    return "" if pcm == Manner().owed(_GOOD_TEXT) else "the answer behind the garbage was not exact"


async def break_frames(gateway: Gateway, address: str, fault: Fault) -> str:
    """Bytes that are no WebSocket frames: the connection is closed."""
    raw = await _raw_client(gateway.port, address)
    with raw:
        await _send(raw, fault.pick(BAD_FRAMES))
        return await _until_closed(raw)


async def crowd(gateway: Gateway, address: str, fault: Fault) -> str:
    """More connections at once than an address may have. Those too many are told so, the others are let in."""
    answers = await asyncio.gather(*(_knock(gateway.port, address) for _ in range(_FLOOD)))
    strange = sorted({status for status, _ in answers} - {b"101", b"503", b"429"})
    for _, raw in answers:
        raw.close()
    return f"answered {strange[0]!r}" if strange else ""


async def _knock(port: int, address: str) -> tuple[bytes, socket.socket]:
    raw = await _connect(port, address)
    await _send(raw, _handshake())
    head = await asyncio.get_running_loop().sock_recv(raw, 12)
    return head[9:12], raw


ATTACKS: dict[Kind, Callable[[Gateway, str, Fault], Awaitable[str]]] = {
    "slow client": stall,
    "vanishing client": vanish,
    "garbage JSON": babble,
    "garbage frames": break_frames,
    "flood of connections": crowd,
}


async def _raw_client(port: int, address: str, receive_bytes: int = 0) -> socket.socket:
    """A WebSocket by hand, open."""
    raw = await _connect(port, address, receive_bytes)
    await _send(raw, _handshake())
    loop, head = asyncio.get_running_loop(), b""
    while not head.endswith(b"\r\n\r\n"):
        piece = await loop.sock_recv(raw, 1)
        if not piece:
            raise ConnectionError(f"no handshake: {head!r}")
        head += piece
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(f"no handshake: {head[:40]!r}")
    return raw


async def _connect(port: int, address: str, receive_bytes: int = 0) -> socket.socket:
    raw = socket.socket()
    raw.setblocking(False)
    if receive_bytes:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    raw.bind((address, 0))
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", port))
    return raw


def _handshake() -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return f"GET /stream-tokens HTTP/1.1\r\n{_UPGRADE}\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()


def _masked(payload: bytes) -> bytes:
    """A text frame with a mask of zeros (RFC 6455, 5.2)."""
    size = bytes([0x80 + len(payload)]) if len(payload) < 126 else b"\xfe" + struct.pack(">H", len(payload))
    return b"\x81" + size + b"\0\0\0\0" + payload


async def _send(raw: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(raw, data)


async def _until_cut_off(gateway: Gateway, address: str) -> str:
    """Whether the server lets go of a client that does not read, and so cannot see it itself."""
    deadline = time.monotonic() + _CUT_S
    while await asyncio.to_thread(_serves, gateway, address):
        if time.monotonic() > deadline:
            return f"not cut off within {_CUT_S:g} s"
        await asyncio.sleep(1.0)
    return ""


def _serves(gateway: Gateway, address: str) -> bool:
    sockets = psutil.Process(gateway.pid).net_connections("tcp")
    return any(one.raddr and one.raddr.ip == address for one in sockets)


async def _until_closed(raw: socket.socket) -> str:
    """Whether the server ends the connection."""
    try:
        await asyncio.wait_for(_read_all(raw), _CUT_S)
    except asyncio.TimeoutError:
        return f"not closed within {_CUT_S:g} s"
    return ""


async def _read_all(raw: socket.socket) -> None:
    with contextlib.suppress(ConnectionError):
        while await asyncio.get_running_loop().sock_recv(raw, 65_536):
            pass
