"""I5 of the fault list: handshakes and heads that are slow, half, too large or no HTTP; and bodies that dribble."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import FAST, TIMEOUT_S, ask, running_server, tone_bytes, tone_config
from tests.rawws import RawClient, handshake

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

HEAD_S = 0.5
LIMITS = replace(
    FAST,
    stream=replace(FAST.stream, head_s=HEAD_S, head_bytes=32 * 1024),
    text=replace(FAST.text, body_s=HEAD_S),
)
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n"
TEXT = "Hello there."


async def _is_cut_off(raw: RawClient, *, dribble: bytes = b"") -> float:
    """Seconds until the server let go of it, while it sends a byte now and then."""
    began = time.monotonic()
    reading = asyncio.create_task(raw.read_all())
    while not reading.done() and time.monotonic() - began < TIMEOUT_S:
        if dribble:
            raw.writer.write(dribble)
        await asyncio.wait([reading], timeout=0.05)
    assert reading.done(), "the server keeps the connection"
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("begin", "dribble"),
    [
        (b"", b""),
        (b"G", b""),
        (GET, b""),
        (handshake()[:-2], b""),
        (GET, b"X-Slow: 1\r\n"),
        (GET + b"X-Slow: ", b"x"),
        (handshake()[:-2], b"x"),
        (GET + b"\r\n" + GET, b""),
        (GET + b"\r\n" + GET + b"X-Slow: ", b"x"),
    ],
    ids=[
        "nothing at all",
        "one byte",
        "half a head",
        "half a handshake",
        "a header now and then",
        "a byte now and then",
        "a handshake byte by byte",
        "half a second request",
        "a second request byte by byte",
    ],
)
async def test_i5_a_head_that_does_not_come_ends_the_connection(
    tone_python: Path, begin: bytes, dribble: bytes
) -> None:
    async with running_server(tone_config(), tone_python, limits=LIMITS) as server:
        async with RawClient(server.port) as raw:
            await raw.send(begin)
            assert HEAD_S * 0.9 < await _is_cut_off(raw, dribble=dribble) < TIMEOUT_S
        assert (await ask(server.ws, {"token": TEXT, "done": True})).audio == tone_bytes(TEXT)


async def test_i5_a_body_that_was_not_wanted_does_not_keep_the_connection(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, limits=LIMITS) as server:
        async with RawClient(server.port) as raw:
            await raw.send(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            await _is_cut_off(raw, dribble=b"x")


@pytest.mark.parametrize("path", ["/tts", "/v1/audio/speech", "/v1/speak", "/tts/bytes", "/v1/text-to-speech/tone"])
async def test_i5_a_body_that_dribbles_is_given_up(tone_python: Path, path: str) -> None:
    async with running_server(tone_config(), tone_python, limits=LIMITS) as server:
        async with RawClient(server.port) as raw:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"
            await raw.send(head.encode())
            reading = asyncio.create_task(raw.read_all())
            while not reading.done():
                raw.writer.write(b" ")
                await asyncio.wait([reading], timeout=0.05)
            assert reading.result().startswith(b"HTTP/1.1 408 ")


async def test_i5_an_answer_that_takes_long_is_no_slow_head(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python, limits=LIMITS) as server:
        async with RawClient(server.port) as raw:
            body = b'{"text": "This takes longer than a head may take, and much longer than that too, I hope."}'
            head = f"POST /tts HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            began = time.monotonic()
            await raw.send(head.encode() + body)
            assert (await raw.read_all()).startswith(b"HTTP/1.1 200 ")
            assert time.monotonic() - began > HEAD_S, "the test is too fast to show anything"


async def test_i5_http_0_9_is_answered_and_the_connection_closed(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, limits=LIMITS) as server:
        async with RawClient(server.port) as raw:
            await raw.send(b"GET /health\r\n\r\n")
            assert (await raw.read_all()).startswith(b"HTTP/1.1 200 ")


NO_HTTP = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "a method that there is not": b"SPEAK /tts HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/3.7": b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
    "a header with a NUL": b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n",
    "two lengths": b"POST /tts HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "a length and chunks": b"POST /tts HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"POST /tts HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a chunk that is no number": b"POST /tts HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n",
    "a path that is no ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header of 64 KiB": GET + b"X-Long: " + b"x" * 65_536 + b"\r\n\r\n",
    "a header of 1 MiB without an end": GET + b"X-Long: " + b"x" * 2**20,
    "64 KiB of headers": GET + b"X-Short: 1\r\n" * 6_000 + b"\r\n",
    "a path of 64 KiB": b"GET /" + b"x" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a handshake with a header of 10 KiB": handshake("/stream-tokens", "X-Long: " + "x" * 10_000),
    "a handshake with 200 headers": handshake("/stream-tokens", *["X-Short: 1"] * 200),
    "a handshake by POST": handshake().replace(b"GET", b"POST"),
    "a handshake without a key": handshake().replace(b"Sec-WebSocket-Key", b"X-Key"),
    "a handshake with a short key": handshake().replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl"),
    "a handshake of an old version": handshake().replace(b"Version: 13", b"Version: 8"),
    "a handshake where there is no door": handshake("/nowhere"),
    "a handshake at an HTTP door": handshake("/v1/audio/speech"),
}


@pytest.mark.parametrize("case", NO_HTTP)
async def test_i5_what_is_no_request_is_refused_and_the_connection_closed(
    tone_python: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_server(tone_config(), tone_python, limits=LIMITS) as server:
        async with RawClient(server.port) as raw:
            await raw.send(NO_HTTP[case])
            answer = await raw.read_all()
        assert (await ask(server.ws, {"token": TEXT, "done": True})).audio == tone_bytes(TEXT)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:60]
    assert [record for record in caplog.records if record.exc_info] == []
