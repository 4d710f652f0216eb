"""Uploads of voices that are refused, and what their sender is told: over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.voice_desk import VOICES, code_of, desk
from tests.harness import (
    FAST,
    hum_wav,
)
from voice_server.core.limits import VoiceLimits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SMALL = replace(FAST, voices=VoiceLimits(sample_bytes=200_000, form_bytes=20_000, upload_s=0.5, upload_wait_s=0.2))
KIB = bytes(1024)


# Who is refused


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"name": ""}, "bad_message", "name"),
        ({"name": "../../etc/passwd"}, "bad_message", "name"),
        ({"name": "low"}, "voice_exists", "name"),
        ({"type": "prompt"}, "bad_message", "type"),
        ({"language": "the one of my mother"}, "bad_sample", "language"),
        ({"aliases": "../x"}, "bad_sample", "aliases"),
        ({"transcript": "a" * 1001}, "bad_sample", "transcript"),
    ],
)
async def test_a_field_that_is_wrong_is_named(
    tone_python: Path, tmp_path: Path, fields: dict[str, str], code: str, param: str
) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = (await at.upload(**fields)).json()["error"]
        assert (refused["code"], refused["param"]) == (code, param)
        assert await at.names() == ["tone", "low", "high"]


@pytest.mark.parametrize(
    ("sound", "told"),
    [(b"no sound", "not a sound"), (hum_wav(0.2), "speak for 1 s at least"), (hum_wav(31.0, 8_000), "cut it to 30 s")],
    ids=["noise", "short", "long"],
)
async def test_a_sample_that_cannot_be_a_voice_is_refused_with_what_would_be_right(
    tone_python: Path, tmp_path: Path, sound: bytes, told: str
) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = await at.upload(sound)
    assert code_of(refused) == (400, "bad_sample")
    assert told in refused.json()["error"]["message"]


async def test_a_name_is_taken_once(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path) as at:
        await at.upload()
        assert code_of(await at.upload(hum_wav(pitch_hz=300))) == (409, "voice_exists")


@pytest.mark.parametrize("body", [{"json": {"name": "ada"}}, {"data": {"name": "ada"}}, {"content": b"sound"}])
async def test_what_is_no_form_with_a_file_is_told_how_to_send_one(
    tone_python: Path, tmp_path: Path, body: dict[str, Any]
) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = await at.client.post(VOICES, **body)
    assert code_of(refused) == (400, "bad_message")
    assert "multipart/form-data" in refused.json()["error"]["message"]


@pytest.mark.parametrize("head", ["multipart/form-data", "multipart/form-data; boundary=x"])
async def test_a_broken_form_is_told_so(tone_python: Path, tmp_path: Path, head: str) -> None:
    async with desk(tone_python, tmp_path) as at:
        refused = await at.client.post(VOICES, content=b"--y\r\nnothing", headers={"content-type": head})
    assert code_of(refused) == (400, "bad_message")


async def test_half_characters_in_a_field_are_refused(tone_python: Path, tmp_path: Path) -> None:
    fields = {"name": b"ada", "transcript": b"\\ud800"}
    parts = b"".join(
        b'--x\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), value)
        for name, value in fields.items()
    )
    file = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%b\r\n--x--\r\n' % hum_wav()
    head = {"content-type": "multipart/form-data; boundary=x; charset=unicode_escape"}
    async with desk(tone_python, tmp_path) as at:
        assert code_of(await at.client.post(VOICES, content=parts + file, headers=head)) == (400, "bad_message")


async def test_a_page_from_elsewhere_changes_no_voices_where_no_token_is_wanted(
    tone_python: Path, tmp_path: Path
) -> None:
    async with desk(tone_python, tmp_path) as at:
        at.client.headers["sec-fetch-site"] = "cross-site"
        assert code_of(await at.upload()) == (401, "unauthorized")
        at.client.headers["sec-fetch-site"] = "same-origin"
        assert (await at.upload()).status_code == 200


async def test_the_doors_want_the_token(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, token="secret") as at:
        assert (await at.upload()).status_code == 401
        at.client.headers.update({"authorization": "Bearer secret", "sec-fetch-site": "cross-site"})
        assert (await at.upload()).status_code == 200


# Sizes and times


async def test_an_upload_that_says_it_is_too_large_is_not_read(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.server.port)
        head = "host: x\r\ncontent-type: multipart/form-data; boundary=x\r\ncontent-length: 9000000000\r\n"
        writer.write(f"POST {VOICES} HTTP/1.1\r\n{head}\r\n".encode())
        answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413")


async def test_an_upload_without_an_end_is_cut_off(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        _, sent = await asyncio.wait_for(_pour(at.server.port, KIB * 64, 0.0), 10)
    assert sent < 100 * SMALL.voices.sample_bytes


async def test_an_upload_that_takes_too_long_is_told_so_and_cut_off(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        answer, _ = await asyncio.wait_for(_pour(at.server.port, KIB, 0.05), 10)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["error"]["code"] == "slow_client"


async def test_an_upload_that_does_not_say_that_it_is_too_large_is_told_so(tone_python: Path, tmp_path: Path) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="file"; filename="me.wav"\r\n\r\n'
        for _ in range(300):
            yield KIB
        yield b"\r\n--x--\r\n"

    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        head = {"content-type": "multipart/form-data; boundary=x"}
        assert code_of(await at.client.post(VOICES, content=parts(), headers=head)) == (413, "sample_too_large")


async def _pour(port: int, piece: bytes, pause_s: float) -> tuple[bytes, int]:
    """What the server says to a form that never ends, and how much of it could be sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    form = b'--x\r\ncontent-disposition: form-data; name="file"; filename="me.wav"\r\n\r\n'
    kind = "content-type: multipart/form-data; boundary=x\r\ntransfer-encoding: chunked"
    writer.write(f"POST {VOICES} HTTP/1.1\r\nhost: x\r\n{kind}\r\n\r\n".encode())
    answering, sent = asyncio.create_task(_all_of(reader)), 0
    with contextlib.suppress(ConnectionError):
        while not answering.done():
            writer.write(b"%x\r\n%b\r\n" % (len(form), form))
            await writer.drain()
            sent, form = sent + len(form), piece
            await asyncio.sleep(pause_s)
    writer.close()
    return await answering, sent


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


async def test_a_file_over_the_limit_is_refused_although_the_whole_body_is_not(
    tone_python: Path, tmp_path: Path
) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        assert code_of(await at.upload(bytes(200_001))) == (413, "sample_too_large")


async def test_the_third_upload_waits_for_a_place_and_is_asked_to_come_again(tone_python: Path, tmp_path: Path) -> None:
    async with desk(tone_python, tmp_path, limits=SMALL) as at:
        house = at.server.house
        for _ in range(SMALL.voices.uploads):
            await house.uploads.acquire()
        refused = await at.upload()
        house.uploads.release()
        assert code_of(refused) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        assert (await at.upload()).status_code == 200
