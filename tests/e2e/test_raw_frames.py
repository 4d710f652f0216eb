"""I3 of the fault list: frames by hand at `/stream-tokens`, against a gateway in a process of its own.

The protocol is spoken by websockets; what is tested is that nothing on the way to it, ours or uvicorn's, gets it wrong.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import tone_bytes
from tests.rawws import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawClient, close, fragments, frame, text
from tests.server_process import ServerProcess, server_process

pytestmark = pytest.mark.anyio

MESSAGE_BYTES = 64 * 1024
HELLO = "Hello there."
ASK = json.dumps({"token": HELLO, "done": True}).encode()
UMLAUT = json.dumps({"token": "Grüße!", "done": True}, ensure_ascii=False).encode()
MIB = 2**20
CODES_OF_NOBODY = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
BLOBS = {"empty": b"", "JSON": b"{}", "no text": b"\xff\xfe", "64 KiB": b"x" * MESSAGE_BYTES}


@pytest.fixture(scope="module")
def server(tone_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("raw"), "--connections-per-address", "200") as server:
        server.wait_ready()
        yield server


@pytest.fixture(autouse=True)
def nothing_of_it_is_our_mistake(server: ServerProcess) -> Iterator[None]:
    yield
    assert "Traceback" not in server.stderr


async def _audio_of(raw: RawClient) -> bytes:
    audio = b""
    while got := await raw.read_frame():
        if got.opcode == BINARY:
            audio += got.payload
        elif got.opcode == CLOSE:
            break
    return audio


# What is wrong closes the connection, with the code that says why

WRONG = {
    "a frame without a mask": ([frame(TEXT, ASK, masked=False)], 1002),
    "reserved bit 1": ([frame(TEXT, ASK, rsv=4)], 1002),
    "reserved bit 2": ([frame(TEXT, ASK, rsv=2)], 1002),
    "reserved bit 3": ([frame(TEXT, ASK, rsv=1)], 1002),
    "opcode 3": ([frame(3, ASK)], 1002),
    "opcode 7": ([frame(7, ASK)], 1002),
    "opcode 11": ([frame(11)], 1002),
    "opcode 15": ([frame(15)], 1002),
    "a continuation of nothing": ([frame(CONT, ASK)], 1002),
    "a new message within a message": ([frame(TEXT, b"{", fin=False), frame(TEXT, ASK)], 1002),
    "a ping in two frames": ([frame(PING, b"x", fin=False), frame(CONT, b"y")], 1002),
    "a ping of 126 bytes": ([frame(PING, b"x" * 126)], 1002),
    "a pong of 126 bytes": ([frame(PONG, b"x" * 126)], 1002),
    "a close of one byte": ([frame(CLOSE, b"\x03")], 1002),
    "a close with 126 bytes": ([frame(CLOSE, b"\x03\xe8" + b"x" * 124)], 1002),
    "a close in two frames": ([frame(CLOSE, b"\x03\xe8", fin=False)], 1002),
    **{
        f"close code {code}": ([close(code)], 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "a close reason that is no UTF-8": ([close(1000, b"\xff")], 1007),
    "64 KiB and one byte": ([text(b"x" * (MESSAGE_BYTES + 1))], 1009),
    "64 KiB and one byte in fragments": (fragments(b"x" * (MESSAGE_BYTES + 1), 1000), 1009),
    "a binary message of 64 KiB and one byte": ([frame(BINARY, b"x" * (MESSAGE_BYTES + 1))], 1009),
    "a length of 2 GiB, and nothing more": ([frame(TEXT, length=2**31)], 1009),
    "a length of 2**63 - 1": ([frame(TEXT, length=2**63 - 1)], 1009),
    "a length of 2**64 - 1": ([frame(TEXT, length=2**64 - 1)], 1009),
    "a byte that UTF-8 does not have": ([text(b'{"token":"\xff"}')], 1007),
    "half a character at the end": ([text(b'{"token":"\xc3')], 1007),
    "half a character at the end of the last fragment": (fragments(b'{"token":"\xc3', 3), 1007),
    "half a character before another fragment": ([frame(TEXT, b'"\xc3', fin=False), frame(CONT, b'"')], 1007),
    "an overlong zero": ([text(b"\xc0\x80")], 1007),
    "a surrogate in UTF-8": ([text(b'{"token":"\xed\xa0\x80"}')], 1007),
    "a character beyond Unicode": ([text(b"\xf4\x90\x80\x80")], 1007),
}


@pytest.mark.parametrize("case", WRONG)
async def test_i3_a_wrong_frame_closes_the_connection_with_its_code(server: ServerProcess, case: str) -> None:
    frames, code = WRONG[case]
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(b"".join(frames))
        closed = await raw.until(CLOSE)
        assert closed
        assert closed.close_code == code
        assert await raw.read_frame() is None


# What is odd but right is understood

ODD = {
    "a byte per frame": fragments(ASK, 1),
    "empty frames between": [frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT, ASK, fin=False), frame(CONT)],
    "10 000 empty fragments": [frame(TEXT, fin=False), frame(CONT, fin=False) * 10_000, frame(CONT, ASK)],
    "10 000 fragments": fragments(ASK + b" " * 10_000, 1),
    "a ping between fragments": [frame(TEXT, ASK[:5], fin=False), frame(PING, b"?"), frame(CONT, ASK[5:])],
    "pongs that nobody asked for": [frame(PONG), frame(PONG, b"x" * 125), text(ASK)],
    "a length of two bytes where one would do": [frame(TEXT, ASK, length_bytes=2)],
    "a length of eight bytes where one would do": [frame(TEXT, ASK, length_bytes=8)],
    "exactly 64 KiB": [text(ASK + b" " * (MESSAGE_BYTES - len(ASK)))],
}


@pytest.mark.parametrize("case", ODD)
async def test_i3_an_odd_message_is_understood(server: ServerProcess, case: str) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(b"".join(ODD[case]))
        assert await _audio_of(raw) == tone_bytes(HELLO)


async def test_i3_a_character_may_be_split_over_fragments(server: ServerProcess) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(*fragments(UMLAUT, 1))
        assert await _audio_of(raw) == tone_bytes("Grüße!")


async def test_i3_a_byte_per_packet_is_enough(server: ServerProcess) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(*(bytes([byte]) for byte in text(ASK)))
        assert await _audio_of(raw) == tone_bytes(HELLO)


@pytest.mark.parametrize(
    "payload", [b"", b"{}", b"\xff\xfe", b"x" * MESSAGE_BYTES], ids=["empty", "JSON", "no text", "64 KiB"]
)
async def test_i3_binary_where_text_is_expected_is_an_error_and_no_end(server: ServerProcess, payload: bytes) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(frame(BINARY, payload))
        assert (await raw.until_text(type="error"))["code"] == "bad_message"
        await raw.send(text(ASK))
        assert await _audio_of(raw) == tone_bytes(HELLO)


async def test_i3_an_empty_message_is_an_error_and_no_end(server: ServerProcess) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(frame(TEXT))
        assert (await raw.until_text(type="error"))["code"] == "bad_message"
        await raw.send(text(ASK))
        assert await _audio_of(raw) == tone_bytes(HELLO)


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1011, 3000, 4999])
async def test_i3_a_close_is_answered_with_its_own_code(server: ServerProcess, code: int) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(close(code, b"bye"))
        closed = await raw.until(CLOSE)
        assert closed
        assert closed.close_code == code


async def test_i3_what_comes_after_a_close_is_not_heard(server: ServerProcess) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(close(1000) + text(ASK))
        assert await _audio_of(raw) == b""


@pytest.mark.parametrize("payload", [b"", b"x", b"\xff" * 125], ids=["empty", "one byte", "125 bytes"])
async def test_i3_a_ping_is_answered_with_its_own_payload(server: ServerProcess, payload: bytes) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        await raw.send(frame(PING, payload))
        pong = await raw.until(PONG)
        assert pong
        assert pong.payload == payload


async def test_i3_no_extension_is_negotiated(server: ServerProcess) -> None:
    async with RawClient(server.port) as raw:
        head = await raw.upgrade("/stream-tokens", "Sec-WebSocket-Extensions: permessage-deflate")
    assert head.startswith("HTTP/1.1 101")
    assert "extensions" not in head.lower()


# Floods


async def test_i3_a_flood_of_pings_is_answered_to_the_last(server: ServerProcess) -> None:
    async with RawClient(server.port) as raw:
        await raw.upgrade()
        last = b"the last"
        sending = asyncio.create_task(raw.send(frame(PING, b"x" * 125) * 20_000, frame(PING, last)))
        while (pong := await raw.until(PONG)) and pong.payload != last:
            pass
        await sending
        assert pong
        await raw.send(text(ASK))
        assert await _audio_of(raw) == tone_bytes(HELLO)


FLOODS = {
    "pings": frame(PING, b"x" * 125) * 1000,
    "empty fragments": frame(CONT, fin=False) * 20_000,
    "messages that are wrong": text("[") * 10_000,
    "binary messages": frame(BINARY) * 20_000,
}


@pytest.mark.parametrize("what", FLOODS)
async def test_i3_a_flood_from_a_client_that_does_not_read_takes_no_memory(server: ServerProcess, what: str) -> None:
    gateway = psutil.Process(server.pid)
    async with RawClient(server.port, receive_buffer=4096) as raw:
        await raw.upgrade()
        if what == "empty fragments":
            await raw.send(frame(TEXT, b"{", fin=False))
        before = gateway.memory_info().rss
        await _flood(raw, FLOODS[what])
        assert gateway.memory_info().rss - before < 16 * MIB


async def _flood(raw: RawClient, data: bytes, most: int = 64 * MIB, seconds: float = 5.0) -> None:
    """As much as the server takes; it may also refuse to take more, or hang up."""
    deadline = time.monotonic() + seconds
    for _ in range(most // len(data)):
        raw.writer.write(data)
        try:
            await asyncio.wait_for(raw.writer.drain(), max(0.01, deadline - time.monotonic()))
        except (asyncio.TimeoutError, ConnectionError):
            return
