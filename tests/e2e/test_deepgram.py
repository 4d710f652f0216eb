"""Deepgram's doors over real sockets, with the tone backend's predictable audio."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import websockets

from tests.harness import FAST, TIMEOUT_S, RunningServer, eventually, running_server, say, tone_bytes, tone_config
from voice_server.core.audio.raw_formats import to_raw

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCES = ("Hello there.", "How are you today?")
TEXT = " ".join(SENTENCES)
FLUSH, CLEAR, CLOSE = {"type": "Flush"}, {"type": "Clear"}, {"type": "Close"}


def _speak(text: str) -> dict[str, str]:
    return {"type": "Speak", "text": text}


@dataclass
class Heard:
    audio: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for message in self.messages]


async def _hear(ws: websockets.ClientConnection, until: str = "") -> Heard:
    """Up to a message of this type, or the end."""
    heard = Heard()
    try:
        while not heard.messages or heard.messages[-1]["type"] != until:
            message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
            if isinstance(message, bytes):
                heard.audio += message
            else:
                heard.messages.append(json.loads(message))
    except websockets.ConnectionClosed:
        pass
    return heard


@asynccontextmanager
async def _socket(server: RunningServer, query: str = "") -> AsyncIterator[websockets.ClientConnection]:
    async with websockets.connect(f"{server.ws}/v1/speak?model=aura-2-thalia-en{query}", max_size=None) as ws:
        assert json.loads(await ws.recv())["type"] == "Metadata"
        yield ws


async def test_turns_follow_one_another_on_a_socket(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        for sequence_id in range(2):
            await say(ws, *(_speak(f"{word} ") for word in TEXT.split()), FLUSH)
            heard = await _hear(ws, "Flushed")
            assert heard.audio == tone_bytes(*SENTENCES)
            assert heard.messages == [{"type": "Flushed", "sequence_id": sequence_id}]


async def test_the_encoding_and_the_voice_are_as_asked(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        async with websockets.connect(f"{server.ws}/v1/speak?model=low&encoding=mulaw&sample_rate=24000") as ws:
            assert json.loads(await ws.recv())["model_name"] == "low"
            await say(ws, _speak("Hello there."), FLUSH)
            heard = await _hear(ws, "Flushed")
    assert heard.audio == to_raw(tone_bytes("Hello there.", voice="low"), "mulaw")


async def test_nothing_is_heard_of_what_was_cleared(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.5), tone_python) as server, _socket(server) as ws:
        await say(ws, _speak("This is not heard to its end. " * 10), FLUSH)
        await ws.recv()
        await say(ws, CLEAR, _speak("Hello there."), FLUSH)
        assert (await _hear(ws, "Cleared")).kinds == ["Cleared"]
        heard = await _hear(ws, "Flushed")
    assert heard.audio == tone_bytes("Hello there.")
    assert heard.kinds == ["Flushed"]


async def test_close_waits_for_what_was_flushed(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, _speak(SENTENCES[0]), FLUSH, _speak(SENTENCES[1]), FLUSH, _speak("Not flushed."), CLOSE)
        heard = await _hear(ws)
        assert heard.audio == tone_bytes(*SENTENCES)
        assert heard.kinds == ["Flushed", "Flushed"]
        assert ws.close_code == 1000


async def test_each_flush_has_its_flushed_however_early_it_comes(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, _speak(TEXT), FLUSH, FLUSH, FLUSH, CLOSE)
        heard = await _hear(ws)
    assert heard.audio == tone_bytes(*SENTENCES)
    assert [(told["type"], told["sequence_id"]) for told in heard.messages] == [("Flushed", at) for at in range(3)]
    assert ws.close_code == 1000


async def test_an_answer_that_was_rendered_when_it_was_cleared_takes_nothing_from_the_next_one(
    tone_python: Path,
) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, FLUSH, CLEAR, FLUSH, CLEAR, _speak(TEXT), FLUSH, CLOSE)  # without a word it is done at once
        heard = await _hear(ws)
    assert heard.audio == tone_bytes(*SENTENCES)
    assert [kind for kind in heard.kinds if kind != "Cleared"] == ["Flushed"] * 3
    assert ws.close_code == 1000


async def test_close_without_a_flush_ends_at_once(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=10.0), tone_python) as server, _socket(server) as ws:
        await say(ws, _speak(TEXT), CLOSE)
        assert (await _hear(ws)).kinds == []
        assert ws.close_code == 1000


@pytest.mark.parametrize("bad", ["no json", '{"type": "Sing"}', '{"type": "Speak", "text": 5}', b"\0\1"])
async def test_a_bad_message_is_a_warning_and_the_session_goes_on(tone_python: Path, bad: str | bytes) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await ws.send(bad)
        assert (await _hear(ws, "Warning")).messages[0]["code"] == "bad_message"
        await say(ws, _speak("Hello there."), FLUSH)
        assert (await _hear(ws, "Flushed")).audio == tone_bytes("Hello there.")


async def test_a_text_without_a_word_is_an_error_and_the_session_goes_on(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        await say(ws, _speak("```\ncode\n```"), FLUSH)
        assert (await _hear(ws, "Flushed")).kinds == ["Error", "Flushed"]
        await say(ws, _speak("Hello there."), FLUSH)
        assert (await _hear(ws, "Flushed")).audio == tone_bytes("Hello there.")


@pytest.mark.parametrize("query", ["encoding=mp3", "sample_rate=1", "sample_rate=x", "backend=other", "speed=99"])
async def test_a_socket_that_cannot_be_is_refused_with_a_status(tone_python: Path, query: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(f"{server.ws}/v1/speak?{query}"):
                pass
    response = refused.value.response
    assert response.status_code in (400, 404)
    assert json.loads(response.body or b"")["err_code"]


async def test_a_client_that_leaves_frees_the_worker(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=1.0), tone_python) as server:
        async with _socket(server) as ws:
            await say(ws, _speak(TEXT * 5), FLUSH)
            await ws.recv()
        await eventually(lambda: server.backend.pool.slots[0].open_renders == 0, "the worker is free", 2.0)
        assert server.house.is_empty


async def test_an_idle_client_is_told_and_let_go(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, idle_s=0.2))
    async with running_server(tone_config(), tone_python, limits=limits) as server, _socket(server) as ws:
        assert (await _hear(ws)).messages[0]["code"] == "idle_timeout"
        assert ws.close_code == 1008


async def test_a_client_without_a_turn_is_asked_to_leave_at_a_shutdown(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, _socket(server) as ws:
        server.house.drain()
        assert (await _hear(ws)).messages[0]["code"] == "going_away"
        assert ws.close_code == 1012


# HTTP


async def _post(server: RunningServer, query: str, body: Any) -> httpx.Response:
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await client.post(f"{server.http}/v1/speak?{query}", content=content)


@pytest.mark.parametrize("encoding", ["linear16", "mulaw", "alaw", "mp3"])
async def test_a_file_holds_the_whole_text(tone_python: Path, encoding: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _post(server, f"model=low&encoding={encoding}&sample_rate=24000", {"text": TEXT})
    assert answer.status_code == 200
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    expected_s = len(tone_bytes(*SENTENCES, voice="low")) / 48000
    assert expected_s <= len(samples) / rate <= expected_s + 0.12  # of padding, in mp3


async def test_bare_samples_have_no_head(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _post(server, "encoding=linear16&container=none", {"text": TEXT})
    assert answer.content == tone_bytes(*SENTENCES)


@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ("", {"text": " "}, 400, "empty_text"),
        ("", {}, 400, "bad_message"),
        ("", b"{", 400, "bad_message"),
        ("", {"text": "a" * 9_000}, 413, "text_too_long"),
        ("encoding=midi", {"text": TEXT}, 400, "unknown_format"),
        ("encoding=mp3&sample_rate=12345", {"text": TEXT}, 400, "unknown_format"),
        ("backend=other", {"text": TEXT}, 404, "unknown_backend"),
        ("speed=99", {"text": TEXT}, 400, "bad_option"),
    ],
)
async def test_an_error_has_a_status_and_a_code(
    tone_python: Path, query: str, body: Any, status: int, code: str
) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _post(server, query, body)
    assert (answer.status_code, answer.json()["err_code"]) == (status, code)
    assert answer.json()["err_msg"]
