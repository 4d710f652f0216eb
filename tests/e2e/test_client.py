"""client.py as a person runs it: against servers that follow a script, and against the real gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import soundfile
import websockets
from websockets.asyncio.server import Server, ServerConnection, serve

from tests.e2e.programs import Outcome, program, terminal
from tests.harness import TIMEOUT_S, running_server, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

PCM = bytes(range(256)) * 125  # one second at 16 kHz
CODE = "\n```\n" + "total = total + number * number\n" * 850 + "```\n"  # more than a client lets wait
READY = {"type": "ready", "protocol": 1, "backend": "scripted", "voice": "v", "sample_rate": 16000}


async def client(url: str, *arguments: str, folder: Path) -> Outcome:
    options = ("--url", url, "--token-delay", "0", *arguments)
    return await asyncio.to_thread(program, "client.py", *options, folder=folder)


@asynccontextmanager
async def scripted(script: Callable[[ServerConnection], Awaitable[None]], **options: Any) -> AsyncIterator[str]:
    """The address of a server that plays the script for each client."""
    async with serve(script, "127.0.0.1", 0, **options) as server:
        yield address(server)


def address(server: Server) -> str:
    return f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/stream-tokens"


async def tell(ws: ServerConnection, *messages: dict[str, Any] | bytes) -> None:
    for message in messages:
        await ws.send(message if isinstance(message, bytes) else json.dumps(message))


async def read_until_done(ws: ServerConnection) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    while not said or "done" not in said[-1]:
        said.append(json.loads(await asyncio.wait_for(ws.recv(), TIMEOUT_S)))
    return said


async def speak_one_second(ws: ServerConnection) -> None:
    await tell(ws, READY)
    await read_until_done(ws)
    await tell(
        ws,
        {"type": "sentence", "event": "accepted", "index": 0, "text": "Hello."},
        {"type": "generating", "sentence": "Hello.", "queue_depth": 0, "index": 0, "worker": "scripted-0"},
        {"type": "sentence", "event": "start", "index": 0, "text": "Hello."},
        PCM[:1000],
        PCM[1000:],
        {"type": "sentence", "event": "end", "index": 0, "duration_ms": 1000},
        {"type": "done"},
    )


async def test_the_wav_has_the_announced_rate_and_every_sample(tmp_path: Path) -> None:
    async with scripted(speak_one_second) as url:
        ended = await client(url, "--text", "Hello.", "--output", "a.wav", folder=tmp_path)
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert (ended.code, ended.err, rate) == (0, "", 16000)
    assert samples.tobytes() == PCM
    assert ended.out.splitlines()[-1] == "wrote a.wav (1.0 s, 16000 Hz)"


async def test_options_tokens_and_done_are_sent_in_this_order(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    asked: list[Any] = []

    async def script(ws: ServerConnection) -> None:
        assert ws.request is not None
        asked.extend([ws.request.path, ws.request.headers["Authorization"]])
        await tell(ws, READY)
        said.extend(await read_until_done(ws))
        await tell(ws, {"type": "done"})

    wishes = ("--opt", "speed=1.5", "--voice", "v", "--sample-rate", "native", "--token", "secret")
    async with scripted(script) as url:
        ended = await client(url, "--text", "Hello there.", *wishes, folder=tmp_path)
    assert ended.code == 0
    assert asked == ["/stream-tokens?voice=v&sample_rate=native", "Bearer secret"]
    assert said == [{"opts": {"speed": 1.5}}, {"token": "Hello"}, {"token": " there"}, {"token": "."}, {"done": True}]


async def test_an_error_is_told_and_the_audio_is_kept(tmp_path: Path) -> None:
    async def script(ws: ServerConnection) -> None:
        await tell(ws, READY)
        await read_until_done(ws)
        await tell(ws, PCM, {"type": "error", "code": "overloaded", "msg": "try later"}, {"type": "done"})

    async with scripted(script) as url:
        ended = await client(url, "--text", "Hello.", "--output", "a.pcm", folder=tmp_path)
    assert (ended.code, ended.err) == (1, "error overloaded: try later\n")
    assert (tmp_path / "a.pcm").read_bytes() == PCM


async def test_a_connection_lost_in_the_middle_is_an_error(tmp_path: Path) -> None:
    async def script(ws: ServerConnection) -> None:
        await tell(ws, READY, PCM)
        ws.transport.abort()

    async with scripted(script) as url:
        ended = await client(url, "--text", "Hello.", folder=tmp_path)
    assert ended.code == 1
    assert ended.err == "error closed: the connection ended before the answer was complete\n"


async def test_a_server_that_speaks_something_else_is_one_line(tmp_path: Path) -> None:
    async def script(ws: ServerConnection) -> None:
        await ws.send("[1, 2, 3]")
        await ws.wait_closed()

    async with scripted(script) as url:
        ended = await client(url, folder=tmp_path)
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "error bad_message: the server sent something that is no message of /stream-tokens"
    ]


async def test_a_refusal_says_what_to_give(tmp_path: Path) -> None:
    def refuse(ws: ServerConnection, request: websockets.Request) -> websockets.Response:
        return ws.respond(HTTPStatus.UNAUTHORIZED, "no\n")

    async with scripted(speak_one_second, process_request=refuse) as url:
        ended = await client(url, folder=tmp_path)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "refused with HTTP 401: give its token with --token" in ended.err


async def test_ctrl_c_cancels_the_answer(tmp_path: Path) -> None:
    cancelled = asyncio.Event()

    async def script(ws: ServerConnection) -> None:
        await tell(ws, READY, PCM)
        async for message in ws:
            if json.loads(message).get("cancel") is True:
                cancelled.set()
                await tell(ws, {"type": "cancelled"})

    def interrupt(url: str) -> int:
        arguments = ("--url", url, "--text", "Hello.", "--output", "a.pcm")
        with terminal("client.py", *arguments, folder=tmp_path) as screen:
            screen.expect("first audio ")
            screen.type("\x03")
            screen.expect("stopped")
            screen.expect("wrote a.pcm")
            return screen.exit_code()

    async with scripted(script) as url:
        assert await asyncio.to_thread(interrupt, url) == 130
    assert cancelled.is_set()


async def test_in_the_background_of_a_shell_it_speaks_without_the_keyboard(tmp_path: Path) -> None:
    def leave_alone(url: str) -> int:
        arguments = ("--url", url, "--text", "Hello.", "--output", "a.pcm")
        with terminal("client.py", *arguments, folder=tmp_path, background=True) as screen:
            return screen.exit_code()

    async with scripted(speak_one_second) as url:
        assert await asyncio.to_thread(leave_alone, url) == 0
    assert (tmp_path / "a.pcm").read_bytes() == PCM


async def test_the_gateway_speaks_the_text_sample_by_sample(tone_python: Path, tmp_path: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        url = f"{server.ws}/stream-tokens"
        ended = await client(url, "--text", "Hello there. How are you?", "--output", "a.pcm", folder=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "a.pcm").read_bytes() == tone_bytes("Hello there.", "How are you?")
    assert "sentence 2 done  0.72 s  tone-0" in ended.out


async def test_a_long_piece_of_code_between_two_sentences_is_passed_over(tone_python: Path, tmp_path: Path) -> None:
    (tmp_path / "answer.md").write_text(CODE.join(("Hello there.", "How are you?")))
    async with running_server(tone_config(), tone_python) as server:
        url = f"{server.ws}/stream-tokens"
        ended = await client(url, "--text-file", "answer.md", "--output", "a.pcm", folder=tmp_path)
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "a.pcm").read_bytes() == tone_bytes("Hello there.", "How are you?")


async def test_the_gateway_lets_in_who_has_its_token(tone_python: Path, tmp_path: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        url = f"{server.ws}/stream-tokens"
        codes = [(await client(url, "--token", token, folder=tmp_path)).code for token in ("wrong", "secret")]
    assert codes == [1, 0]


async def test_an_unknown_voice_of_the_gateway_is_an_error(tone_python: Path, tmp_path: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        ended = await client(f"{server.ws}/stream-tokens", "--voice", "nobody", folder=tmp_path)
    assert ended.code == 1
    assert ended.err.startswith("error unknown_voice: ")
