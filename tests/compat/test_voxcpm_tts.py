"""The two clients that the VoxCPM TTS server tells its users to write, in Python and in JavaScript."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
import subprocess
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import websockets

from tests.compat.audio import Sound, assert_lasts, assert_says, from_pcm
from tests.compat.conftest import CompatServer
from tests.compat.report import Report
from tests.harness import TIMEOUT_S, tone_bytes

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node to run a JavaScript client")
CLIENT = Path(__file__).parent / "voxcpm_client.mjs"
NODE = shutil.which("node")
TEXT = "The train to the coast leaves at noon. We should buy our tickets before breakfast."
TONES = ("Hello there, dear listener.", "How are you today?")
TONE_TEXT = " ".join(TONES)


def url(server: CompatServer, backend: str) -> str:
    return f"{server.ws}/tts?backend={backend}&api_key={server.token}"


def frame_of(message: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack(">I", message[4:8])
    (length,) = struct.unpack(">I", message[8 + size : 12 + size])
    return json.loads(message[8 : 8 + size].decode("utf-8")), message[12 + size : 12 + size + length]


async def speak(where: str, **params: Any) -> Sound:
    """With the default settings of `websockets`, which take messages of up to 1 MiB."""
    async with websockets.connect(where) as ws:
        await ws.send(json.dumps({"type": "tts_request", "request_id": str(uuid.uuid4()), "params": params}))
        chunks, rate = [], 0
        while True:
            message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
            if isinstance(message, bytes):
                told, pcm = frame_of(message)
                rate = told["sample_rate"]
                chunks.append(pcm)
                continue
            told = json.loads(message)
            if told.get("type") == "complete":
                return from_pcm(b"".join(chunks), rate)
            if told.get("type") == "error":
                raise RuntimeError(told["error"]["message"])


def run_node(where: str, **params: Any) -> dict[str, Any]:
    command = [str(NODE), "--experimental-websocket", str(CLIENT), where, json.dumps(params)]  # a flag until Node 22
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    return json.loads(done.stdout)


def node_version() -> str:
    return subprocess.check_output([NODE, "--version"], text=True).strip() if NODE else "none"


def note_python(report: Report, what: str) -> AbstractContextManager[None]:
    return report("VoxCPM TTS, its Python client", f"websockets {websockets.__version__}", what)


def note_node(report: Report, what: str) -> AbstractContextManager[None]:
    return report("VoxCPM TTS, its JavaScript client", f"Node {node_version()}", what)


@pytest.mark.parametrize("mode", ["streaming", "non_streaming"])
def test_the_python_client_gets_every_byte(server: CompatServer, report: Report, mode: str) -> None:
    with note_python(report, f"a text, {mode}"):
        sound = asyncio.run(speak(url(server, "tone"), text=TONE_TEXT, mode=mode))
        owed = from_pcm(tone_bytes(*TONES), 24000)
        assert sound.rate == owed.rate
        assert np.array_equal(sound.samples, owed.samples)


def test_the_python_client_hears_the_last_word(
    server: CompatServer, report: Report, hear: Callable[[Sound], str]
) -> None:
    with note_python(report, "real speech, streaming and as a whole"):
        streamed = asyncio.run(speak(url(server, "hibari"), text=TEXT, mode="streaming"))
        whole = asyncio.run(speak(url(server, "hibari"), text=TEXT, mode="non_streaming"))
        assert_says(hear(streamed), TEXT)
        assert_lasts(streamed, whole.seconds)


def test_the_python_client_is_told_what_is_wrong(server: CompatServer, report: Report) -> None:
    with note_python(report, "an error"):
        with pytest.raises(RuntimeError, match="there is no voice 'nobody'"):
            asyncio.run(speak(url(server, "tone"), text=TEXT, voice_id="nobody"))


@needs_node
@pytest.mark.parametrize(("mode", "kind"), [("streaming", 1), ("non_streaming", 2)])
def test_the_javascript_client_gets_every_sample(server: CompatServer, report: Report, mode: str, kind: int) -> None:
    with note_node(report, f"a text, {mode}, audio viewed in place"):
        heard = run_node(url(server, "tone"), text=TONE_TEXT, mode=mode)
        assert np.array(heard["pcm"], "<i2").tobytes() == tone_bytes(*TONES)
        assert {(frame["type"], frame["sample_rate"]) for frame in heard["frames"]} == {(kind, 24000)}
        assert heard["result"]["samples"] == len(heard["pcm"])
        assert heard["states"][:3] == ["queued", "processing", "generating"]


@needs_node
def test_the_javascript_client_is_told_what_is_wrong(server: CompatServer, report: Report) -> None:
    with note_node(report, "an error"):
        heard = run_node(url(server, "tone"), text=TEXT, prompt_wav_url="http://127.0.0.1/a.wav")
        assert "--allow-prompt-urls" in heard["error"]
