"""Clients that vanish while several tasks speak to them: what one task finds out is no mistake of the others."""

from __future__ import annotations

import gc
import logging
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.harness import eventually, running_server, say, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "This is a long sentence to speak here. " * 20
CONTEXTS = [f"{number}" for number in range(6)]
PCM = "output_format=pcm_24000"
CLIENTS = 20  # not each of them meets the moment


@pytest.mark.parametrize(
    ("path", "messages"),
    [
        (f"/v1/text-to-speech/tone/stream-input?{PCM}", [{"text": TEXT}]),
        (
            f"/v1/text-to-speech/tone/multi-stream-input?{PCM}",
            [{"context_id": name, "text": TEXT} for name in CONTEXTS],
        ),
        (
            "/tts/websocket",
            [{"context_id": name, "transcript": TEXT, "voice": {"id": "tone"}} for name in CONTEXTS],
        ),
        (
            "/tts",
            [
                {"type": "tts_request", "request_id": name, "params": {"text": TEXT, "mode": "streaming"}}
                for name in CONTEXTS
            ],
        ),
    ],
    ids=["stream-input", "multi-stream-input", "cartesia", "voxcpm"],
)
async def test_clients_that_vanish_while_they_are_spoken_to_leave_no_error_in_the_log(
    tone_python: Path, caplog: pytest.LogCaptureFixture, path: str, messages: list[dict[str, Any]]
) -> None:
    config = tone_config(capacity=8, chunk_ms=5, speed_rtf=0.02)
    async with running_server(config, tone_python) as server:
        for _ in range(CLIENTS):
            async with websockets.connect(f"{server.ws}{path}", max_size=None) as ws:
                await say(ws, *messages)
                for _ in range(15):
                    await ws.recv()
                ws.transport.abort()
        await eventually(lambda: not server.house.metrics.traffic.open["websocket"], "all are gone")
    gc.collect()  # what a task raised is told when nobody can ask for it any more
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
