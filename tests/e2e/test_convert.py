"""POST `/convert` over real sockets, and its files against decoders that are not ours."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import soundfile

from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, tone_config
from voice_server.core.doors.limits import ConvertLimits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

RATE = 24_000
SAMPLES = 60_720  # 2.53 s: no whole number of frames in any format
PCM = bytes((np.sin(np.arange(SAMPLES) / 9) * 8000).astype("<i2").tobytes())


async def _post(server: RunningServer, body: object = PCM, **query: object) -> httpx.Response:
    async with httpx.AsyncClient(timeout=20) as client:
        return await client.post(f"{server.http}/convert", content=body, params=query)  # type: ignore[arg-type]


async def _in_odd_pieces() -> AsyncIterator[bytes]:
    for at in range(0, len(PCM), 999):
        yield PCM[at : at + 999]


async def _begin(server: RunningServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Sends a part of what it announces, and nothing more; httpx would not read before it has sent all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"POST /convert HTTP/1.1\r\nHost: here\r\nContent-Length: {len(PCM)}\r\n\r\n".encode() + PCM[:1000])
    return reader, writer


@pytest.mark.parametrize("name", ["mp3", "flac", "wav"])
async def test_the_file_has_every_sample_and_no_more(tone_python: Path, name: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, format=name, sample_rate=RATE)
    assert response.status_code == 200
    info = soundfile.info(io.BytesIO(response.content))
    assert (info.frames, info.samplerate, info.channels) == (SAMPLES, RATE, 1)


@pytest.mark.parametrize("name", ["opus", "aac"])
async def test_the_formats_of_the_extra_can_be_asked_for_too(tone_python: Path, name: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, format=name)
    with av.open(io.BytesIO(response.content)) as container:
        decoded_s = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert decoded_s == pytest.approx(SAMPLES / RATE, abs=0.08)


async def test_without_a_format_it_is_an_mp3_of_24_khz(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server)
    assert response.headers["content-type"] == "audio/mpeg"
    info = soundfile.info(io.BytesIO(response.content))
    assert (info.format, info.samplerate, info.frames) == ("MP3", RATE, SAMPLES)


async def test_how_the_body_was_cut_changes_nothing(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        whole, cut = await _post(server), await _post(server, _in_odd_pieces())
    assert whole.content == cut.content


@pytest.mark.parametrize(
    ("body", "query", "status", "code", "field"),
    [
        (b"", {}, 400, "bad_message", None),
        (PCM[:-1], {}, 400, "bad_message", None),
        (PCM, {"sample_rate": "fast"}, 400, "bad_message", "sample_rate"),
        (PCM, {"sample_rate": "4000"}, 400, "bad_message", "sample_rate"),
        (PCM, {"sample_rate": "9" * 5000}, 400, "bad_message", "sample_rate"),
        (PCM, {"sample_rate": "23999"}, 400, "unknown_format", "sample_rate"),
        (PCM, {"format": "../mp3"}, 400, "unknown_format", "format"),
    ],
)
async def test_what_is_wrong_is_named(
    tone_python: Path, body: bytes, query: dict[str, str], status: int, code: str, field: str | None
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        response = await _post(server, body, **query)
    told = response.json()["error"]
    assert (response.status_code, told["code"], told["field"]) == (status, code, field)


@pytest.mark.parametrize("body", [PCM, _in_odd_pieces], ids=["announced", "in pieces"])
async def test_more_than_is_converted_at_once_is_refused(tone_python: Path, body: object) -> None:
    limits = replace(FAST, convert=ConvertLimits(body_bytes=len(PCM) - 2))
    async with running_server(tone_config(), tone_python, limits=limits) as server:
        response = await _post(server, body() if callable(body) else body)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "audio_too_long")


async def test_who_pauses_in_the_middle_gives_the_seat_back(tone_python: Path) -> None:
    limits = replace(FAST, convert=ConvertLimits(piece_s=0.2))
    async with running_server(tone_config(), tone_python, limits=limits) as server:
        reader, writer = await _begin(server)
        told = await asyncio.wait_for(reader.readuntil(b"}"), TIMEOUT_S)
        assert server.house.conversions == 0
        writer.close()
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"slow_client"' in told


async def test_a_third_one_is_told_to_come_back_and_one_that_vanishes_makes_room(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        writers = [(await _begin(server))[1] for _ in range(2)]
        await eventually(lambda: server.house.conversions == 2, "both are being converted")
        refused = await _post(server)
        for writer in writers:
            writer.close()
        await eventually(lambda: server.house.conversions == 0, "who vanished left")
        taken = await _post(server)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert "retry-after" in refused.headers
    assert taken.status_code == 200
