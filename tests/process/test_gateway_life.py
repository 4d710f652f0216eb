"""Life and death of the gateway process: G1, G2, G3, G4, G8 of the fault list, with real signals."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlencode

import psutil
import pytest
import websockets

from tests.harness import Answer, read_answer, say, tone_bytes, wait_until
from tests.server_process import ServerProcess, is_gone, server_process

pytestmark = pytest.mark.usefixtures("no_leaks")

TEXT = "This sentence is spoken at the pace of a person, so that a signal comes in its middle."
GONE_S = 1.0  # the promise: no worker lives longer than this after the gateway


async def _answer_interrupted(server: ServerProcess, *signals: signal.Signals) -> Answer:
    """One answer; the signals are sent as soon as its first audio is there."""
    async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
        await say(ws, {"token": TEXT, "done": True})
        heard = b""
        while not heard:
            message = await ws.recv()
            heard = message if isinstance(message, bytes) else b""
        for number in signals:
            server.send(number)
            await asyncio.sleep(0.3)
        rest = await read_answer(ws)
        await ws.wait_closed()
        rest.audio, rest.close_code = heard + rest.audio, ws.close_code
        return rest


def test_g1_sigterm_lets_running_answers_finish(tmp_path: Path) -> None:
    with server_process(tmp_path, speed_rtf=0.3) as server:
        server.wait_ready()
        workers = server.workers()
        answer = asyncio.run(_answer_interrupted(server, signal.SIGTERM))
        assert answer.audio == tone_bytes(TEXT)
        assert answer.messages[-1] == {"type": "done"}
        assert answer.close_code == 1000
        assert server.wait() == 0
        assert all(is_gone(worker) for worker in workers)


async def _text_interrupted(server: ServerProcess) -> tuple[bytes, str, int | None]:
    """A text at WS /stream, SIGTERM at its first audio: the audio, the last words, and the close code."""
    async with websockets.connect(f"{server.ws}/stream?{urlencode({'text': TEXT})}") as ws:
        audio, words = b"", ""
        while not words:
            message = await ws.recv()
            if not audio:
                server.send(signal.SIGTERM)
            if isinstance(message, bytes):
                audio += message
            else:
                words = message
        await ws.wait_closed()
    return audio, words, ws.close_code


def test_g1_a_text_that_is_being_spoken_is_spoken_to_its_end(tmp_path: Path) -> None:
    with server_process(tmp_path, speed_rtf=0.3) as server:
        server.wait_ready()
        assert asyncio.run(_text_interrupted(server)) == (tone_bytes(TEXT), '{"done": true}', 1000)
        assert server.wait() == 0


def test_g2_whose_text_outlasts_the_patience_is_told_to_come_again(tmp_path: Path) -> None:
    with server_process(tmp_path, "--drain", "0.5", speed_rtf=3.0) as server:
        server.wait_ready()
        _, words, code = asyncio.run(_text_interrupted(server))
        assert (json.loads(words)["code"], code) == ("going_away", 1012)
        assert server.wait() == 0


def test_g1_nobody_new_comes_in_while_answers_finish(tmp_path: Path) -> None:
    async def knock(server: ServerProcess) -> None:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": TEXT, "flush": True})
            while not isinstance(await ws.recv(), bytes):
                pass
            server.send(signal.SIGTERM)
            await asyncio.to_thread(wait_until, lambda: _is_refused(server.port), "connections are refused")
            await say(ws, {"done": True})
            assert (await read_answer(ws)).messages[-1] == {"type": "done"}

    with server_process(tmp_path, speed_rtf=0.3) as server:
        server.wait_ready()
        asyncio.run(knock(server))
        assert server.wait() == 0


def _is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_g1_sigterm_sends_idle_clients_away_at_once(tmp_path: Path) -> None:
    async def wait_for_the_end(server: ServerProcess) -> Answer:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await ws.recv()
            server.send(signal.SIGTERM)
            return await read_answer(ws)

    with server_process(tmp_path) as server:
        server.wait_ready()
        answer = asyncio.run(wait_for_the_end(server))
        assert answer.codes == ["going_away"]
        assert answer.close_code == 1012
        assert server.wait() == 0


def test_g1_a_second_signal_ends_it_now(tmp_path: Path) -> None:
    with server_process(tmp_path, speed_rtf=3.0) as server:
        server.wait_ready()
        workers = server.workers()
        answer = asyncio.run(_answer_interrupted(server, signal.SIGTERM, signal.SIGTERM))
        assert answer.close_code == 1012
        assert server.wait() == 0
        assert all(is_gone(worker) for worker in workers)


def test_g2_whose_answer_outlasts_the_patience_is_told_to_come_again(tmp_path: Path) -> None:
    with server_process(tmp_path, "--drain", "0.5", speed_rtf=3.0) as server:
        server.wait_ready()
        workers = server.workers()
        answer = asyncio.run(_answer_interrupted(server, signal.SIGTERM))
        assert answer.codes == ["going_away"]
        assert answer.close_code == 1012
        assert server.wait() == 0
        assert all(is_gone(worker) for worker in workers)


def test_g3_kill_9_takes_idle_stopped_and_busy_workers_along(tmp_path: Path) -> None:
    with server_process(tmp_path, workers=3, speed_rtf=5.0) as server:
        server.wait_ready()
        workers = server.workers()
        assert len(workers) == 3
        workers[0].send_signal(signal.SIGSTOP)
        asyncio.run(_speak_and_leave_open(server))
        _assert_gone_soon(server, workers)


async def _speak_and_leave_open(server: ServerProcess) -> None:
    async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
        await say(ws, {"token": TEXT, "done": True})
        await read_answer(ws, until="generating")


def test_g3_kill_9_takes_a_loading_worker_along(tmp_path: Path) -> None:
    with server_process(tmp_path, load_s=60.0) as server:
        wait_until(lambda: len(server.workers()) == 1, "the worker is there")
        _assert_gone_soon(server, server.workers())


def test_g3_kill_9_takes_grandchildren_along(tmp_path: Path) -> None:
    async def spawn_one(server: ServerProcess) -> None:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"opts": {"fault": "spawn@1"}}, {"token": TEXT, "done": True})
            await read_answer(ws)

    with server_process(tmp_path) as server:
        server.wait_ready()
        asyncio.run(spawn_one(server))
        family = [child for worker in server.workers() for child in [worker, *worker.children(recursive=True)]]
        assert len(family) > 1
        _assert_gone_soon(server, family)


def _assert_gone_soon(server: ServerProcess, family: list[psutil.Process]) -> None:
    server.send(signal.SIGKILL)
    server.wait()
    killed_at = time.monotonic()
    wait_until(lambda: all(is_gone(process) for process in family), "the workers are gone", timeout_s=GONE_S)
    print(f"gone after {(time.monotonic() - killed_at) * 1000:.0f} ms")


def test_g4_ctrl_c_is_one_clean_shutdown(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        workers = server.workers()
        server.send(signal.SIGINT)
        assert server.wait() == 0
        assert all(is_gone(worker) for worker in workers)
        assert "Traceback" not in server.stderr


def test_g8_a_taken_port_is_one_line_and_no_orphan(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with server_process(tmp_path, "--port", port) as server:
            assert server.wait() == 1
            assert server.stderr.strip().splitlines()[-1].startswith(f"voice-server: cannot listen on 127.0.0.1:{port}")


def test_the_network_is_not_served_without_a_token(tmp_path: Path) -> None:
    os.environ.pop("VOICE_SERVER_TOKEN", None)
    with server_process(tmp_path, "--host", "0.0.0.0") as server:
        assert server.wait() == 1
        assert "--insecure" in server.stderr
