"""Cartesia's doors over real sockets, with the tone backend's predictable audio."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import websockets

from tests.harness import TIMEOUT_S, RunningServer, eventually, running_server, say, tone_bytes, tone_config
from voice_server.core.doors.limits import CartesiaLimits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCES = ("Hello there.", "How are you today?")
TEXT = " ".join(SENTENCES)
LONG = "This is not heard to its end. " * 10
BASE = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "tone"}}


def _part(context: str, text: str, **more: Any) -> dict[str, Any]:
    return {**BASE, "context_id": context, "transcript": text, "continue": True, **more}


def _last(context: str, text: str = "", **more: Any) -> dict[str, Any]:
    return _part(context, text, **{"continue": False, **more})


def _connect(server: RunningServer) -> websockets.connect:
    return websockets.connect(f"{server.ws}/tts/websocket?cartesia_version=2025-04-16", max_size=2**20)


async def _next(ws: websockets.ClientConnection) -> dict[str, Any]:
    return dict(json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S)))


async def _hear(ws: websockets.ClientConnection, contexts: int = 1) -> dict[str, list[dict[str, Any]]]:
    """The messages of each context, until so many have ended."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    while sum(messages[-1]["done"] for messages in told.values()) < contexts:
        message = await _next(ws)
        told[message["context_id"]].append(message)
    return told


def _audio(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(message.get("data", "")) for message in messages)


async def test_tokens_become_audio_and_a_done(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await say(ws, *(_part("a", f"{word} ") for word in TEXT.split()), _last("a"))
        messages = (await _hear(ws))["a"]
    assert _audio(messages) == tone_bytes(*SENTENCES)
    assert [message["type"] for message in messages if message["type"] != "chunk"] == ["done"]


async def test_contexts_speak_side_by_side(tone_python: Path) -> None:
    voices = {"a": "low", "b": "high"}
    async with running_server(tone_config(workers=2), tone_python) as server, _connect(server) as ws:
        for context, voice in voices.items():
            await say(ws, _last(context, TEXT, voice={"mode": "id", "id": voice}))
        told = await _hear(ws, 2)
    assert {context: _audio(told[context]) for context in voices} == {
        context: tone_bytes(*SENTENCES, voice=voice) for context, voice in voices.items()
    }


async def test_floats_at_another_rate(tone_python: Path) -> None:
    format = {"container": "raw", "encoding": "pcm_f32le", "sample_rate": 8000}
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await say(ws, _last("a", TEXT, output_format=format))
        samples = np.frombuffer(_audio((await _hear(ws))["a"]), "<f4")
    assert len(samples) / 8000 == pytest.approx(len(tone_bytes(*SENTENCES)) / 48000, abs=0.01)
    assert 0.3 < np.abs(samples).max() <= 1.0


async def test_a_voice_of_cartesia_is_the_default_voice(tone_python: Path) -> None:
    voice = {"mode": "id", "id": "f786b574-daa5-4673-aa0c-cbe3e8534c02"}
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await say(ws, _last("a", "Hello there.", voice=voice))
        assert _audio((await _hear(ws))["a"]) == tone_bytes("Hello there.")


async def test_nothing_of_a_context_comes_after_its_cancellation(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server, _connect(server) as ws:
        await say(ws, _last("a", LONG))
        await _next(ws)
        await say(ws, {"context_id": "a", "cancel": True})
        assert (await _hear(ws))["a"][-1]["cancelled"] is True
        await say(ws, _last("b", "Hello there."))
        told = await _hear(ws)
    assert set(told) == {"b"}
    assert _audio(told["b"]) == tone_bytes("Hello there.")


async def test_a_cancelled_name_may_be_used_at_once(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server, _connect(server) as ws:
        await say(ws, _last("a", LONG), {"context_id": "a", "cancel": True}, _last("a", "Hello there."))
        assert (await _hear(ws))["a"][-1]["cancelled"] is True
        assert _audio((await _hear(ws))["a"]) == tone_bytes("Hello there.")


async def test_a_flush_is_answered_behind_its_audio(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await say(ws, _part("a", "Hello there.", flush=True), _last("a", "How are you today?"))
        messages = (await _hear(ws))["a"]
    at = [message["type"] for message in messages].index("flush_done")
    assert _audio(messages[:at]) == tone_bytes("Hello there.")
    assert _audio(messages[at:]) == tone_bytes("How are you today?")
    assert messages[-1]["type"] == "done"


async def test_an_end_behind_a_flush_needs_no_words_of_its_own(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await say(ws, *[_part("a", text, flush=True) for text in ("Hello there.", "", "")], _last("a", ""))
        messages = (await _hear(ws))["a"]
    assert _audio(messages) == tone_bytes("Hello there.")
    told = [(message["type"], message.get("flush_id")) for message in messages if message["type"] != "chunk"]
    assert told == [("flush_done", 1), ("flush_done", 2), ("flush_done", 3), ("done", None)]


async def test_a_phrase_does_not_wait_for_the_next_one(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await say(ws, _part("a", "Hello there, my friend ", max_buffer_delay_ms=0))
        assert (await _next(ws))["type"] == "chunk"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"transcript": 5, "context_id": "b"}, "bad_message"),
        (_last("b", TEXT, voice={"mode": "id", "id": "nobody"}), "unknown_voice"),
        (_last("b", TEXT, output_format={"container": "raw", "encoding": "midi"}), "unknown_format"),
        (_last("b", TEXT, generation_config={"speed": 99}), "bad_option"),
        (_last("b", " "), "empty_text"),
        (_last("b", "```\ncode\n```"), "empty_text"),
    ],
)
async def test_an_error_names_its_context_and_leaves_the_others_alone(
    tone_python: Path, message: dict[str, Any], code: str
) -> None:
    async with running_server(tone_config(workers=2), tone_python) as server, _connect(server) as ws:
        await say(ws, _part("a", "Hello there. "), message, _last("a", "How are you today?"))
        told = await _hear(ws, 2)
    (error,) = told["b"]
    assert (error["type"], error["error_code"], error["done"]) == ("error", code, True)
    assert _audio(told["a"]) == tone_bytes(*SENTENCES)


@pytest.mark.parametrize("bad", ["no json", "[]", b"\0\1", "[" * 50_000])
async def test_a_message_that_is_none_is_an_error_without_a_context(tone_python: Path, bad: str | bytes) -> None:
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await ws.send(bad)
        error = await _next(ws)
        assert (error["type"], error["context_id"]) == ("error", None)
        await say(ws, _last("a", "Hello there."))
        assert _audio((await _hear(ws))["a"]) == tone_bytes("Hello there.")


async def test_text_behind_the_end_of_a_context_ends_it(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=10.0), tone_python) as server, _connect(server) as ws:
        await say(ws, _last("a", TEXT), _last("a"), _part("a", "And more."))
        assert (await _hear(ws))["a"][-1]["error_code"] == "bad_message"


async def test_contexts_of_a_socket_are_counted(tone_python: Path) -> None:
    most = CartesiaLimits().contexts
    async with running_server(tone_config(), tone_python) as server, _connect(server) as ws:
        await say(ws, *(_part(f"c{number}", "") for number in range(most)), _part("one more", "Hello."))
        error = await _next(ws)
        assert (error["error_code"], error["context_id"]) == ("overloaded", "one more")


async def test_a_client_that_leaves_frees_the_worker(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with _connect(server) as ws:
            await say(ws, _last("a", LONG), _last("b", LONG))
            await _next(ws)
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free", 2.0)
        await eventually(lambda: server.house.is_empty and not server.backend.streams, "the streams are closed")


async def test_a_shutdown_waits_for_the_contexts(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.2), tone_python) as server, _connect(server) as ws:
        await say(ws, _last("a", TEXT))
        await _next(ws)
        server.house.drain()
        assert (await _hear(ws))["a"][-1]["type"] == "done"
        await eventually(lambda: not next(iter(server.house.guests)).is_busy, "the context is over")
        server.house.drain()
        assert (await _next(ws))["error_code"] == "going_away"
        await ws.wait_closed()
        assert ws.close_code == 1012


# HTTP


async def _post(server: RunningServer, body: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        return await client.post(f"{server.http}/tts/bytes", json=body)


async def test_bytes_are_the_audio_of_the_whole_text(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _post(server, {**BASE, "transcript": TEXT})
    assert answer.content == tone_bytes(*SENTENCES)


@pytest.mark.parametrize(("container", "begin"), [("wav", b"RIFF"), ("mp3", b"\xff")])
async def test_bytes_come_in_a_container_too(tone_python: Path, container: str, begin: bytes) -> None:
    format = {"container": container, "sample_rate": 24000}
    async with running_server(tone_config(), tone_python) as server:
        answer = await _post(server, {**BASE, "transcript": TEXT, "output_format": format})
    assert answer.content.startswith(begin)


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"transcript": ""}, 400, "empty_text"),
        ({"transcript": "a" * 9_000}, 413, "text_too_long"),
        ({"transcript": TEXT, "voice": {"id": "nobody"}}, 404, "unknown_voice"),
        ({"transcript": TEXT, "output_format": {"container": "raw", "encoding": "midi"}}, 400, "unknown_format"),
        ({"transcript": TEXT, "output_format": {"container": "midi"}}, 400, "bad_message"),
    ],
)
async def test_an_error_has_a_status_and_a_code(tone_python: Path, more: Any, status: int, code: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _post(server, {**BASE, **more})
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
