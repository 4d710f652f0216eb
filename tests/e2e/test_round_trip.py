"""The whole way and back: text → tokens → hibari's speech → WS /transcribe and POST /v1/audio/transcriptions → text.

One server speaks and listens, with real engines; the audio comes in as fast as a microphone would bring it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from tests.e2e.test_speech import SENTENCES, word_error_rate
from tests.harness import FAST, FAST_WORKER, RunningServer, ask, running_server, say
from tests.process.hearing_driver import listening
from voice_server.config import load_config
from voice_server.core.audio.pcm import byte_count, wav_header

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = " ".join(SENTENCES)
RATE = 24_000
FRAME_S = 0.1
PATIENCE_S = 100.0  # with a busy machine
LIMITS = replace(FAST, stream=replace(FAST.stream, queue_wait_s=PATIENCE_S))


@asynccontextmanager
async def round_trip(hibari_python: Path, whisper_python: Path) -> AsyncIterator[tuple[RunningServer, bytes]]:
    """The server, and what it has spoken."""
    patient = replace(FAST_WORKER, load_s=PATIENCE_S, first_chunk_s=PATIENCE_S, chunk_gap_s=PATIENCE_S)
    known = load_config(None).backends
    speaks, listens = (replace(known[name], limits=patient, workers=1) for name in ("hibari", "whisper-tiny"))
    async with listening(whisper_python, listens, LIMITS) as recogniser:
        async with running_server(speaks, hibari_python, limits=LIMITS, recognisers=[recogniser]) as server:
            answer = await ask(server.ws, *({"token": token} for token in re.findall(r"\S+\s*", TEXT)), {"done": True})
            assert answer.codes == []
            yield server, answer.audio


async def _speak_into(ws: websockets.ClientConnection, audio: bytes) -> None:
    """Frame by frame, each when it would have been recorded."""
    begun, size = asyncio.get_running_loop().time(), byte_count(FRAME_S, RATE)
    for number, at in enumerate(range(0, len(audio), size), 1):
        await asyncio.sleep(max(0.0, begun + number * FRAME_S - asyncio.get_running_loop().time()))
        await ws.send(audio[at : at + size])
    await say(ws, {"stop": True})


async def _transcript(ws: websockets.ClientConnection) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    while not told or told[-1]["type"] not in ("final", "error"):
        told.append(json.loads(await asyncio.wait_for(ws.recv(), PATIENCE_S)))
    return told


async def test_what_was_spoken_is_read_back_while_it_is_heard(hibari_python: Path, whisper_python: Path) -> None:
    async with round_trip(hibari_python, whisper_python) as (server, audio):
        async with websockets.connect(f"{server.ws}/transcribe", max_size=None) as ws:
            await say(ws, {"start": True, "sample_rate": RATE, "format": "s16le", "language": "en"})
            speaking = asyncio.create_task(_speak_into(ws, audio))
            told = await _transcript(ws)
            await speaking
    partials = [message["text"] for message in told if message["type"] == "partial"]
    final = told[-1]
    assert final["type"] == "final", final
    assert word_error_rate(TEXT, final["text"]) <= 0.15
    grown = [text for text, _ in itertools.groupby(partials) if text]
    assert len(grown) >= 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise([*grown, final["text"]]))


async def test_a_file_of_it_is_read_back_as_well(hibari_python: Path, whisper_python: Path) -> None:
    async with round_trip(hibari_python, whisper_python) as (server, audio):
        async with httpx.AsyncClient(base_url=server.http, timeout=PATIENCE_S) as client:
            sent = {"file": ("spoken.wav", wav_header(RATE, len(audio)) + audio)}
            answer = await client.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files=sent)
    assert answer.status_code == 200, answer.text
    assert word_error_rate(TEXT, answer.json()["text"]) <= 0.15
