"""Gateways behind a real HAProxy, with the configuration that ships and real signals: docs/load-balancing.md."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import websockets

from tests.harness import TIMEOUT_S, ask, eventually, tone_bytes
from tests.server_process import ServerProcess, server_process

pytestmark = [
    pytest.mark.release,
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed"),
]

CONFIG = Path(__file__).parents[2] / "docs" / "deploy" / "haproxy.cfg"
SENTENCES = ("This is the first sentence of an answer.", "Another one comes after it.", "And this is the last of all.")
ANSWER, SHORT = tone_bytes(*SENTENCES), "Hello there."
PATIENCE_S = 3 * TIMEOUT_S
CLIENTS = 6


@dataclass
class Balanced:
    """Gateways by name, and the port of the balancer before them."""

    gateways: dict[str, ServerProcess]
    port: int

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=TIMEOUT_S)

    def streams_of(self, gateway: str) -> list[dict[str, Any]]:
        streams: list[dict[str, Any]] = self.gateways[gateway].get("/status")[1]["backends"][0]["streams"]
        return streams


@contextmanager
def balanced(folder: Path, **options: Any) -> Iterator[Balanced]:
    """Two gateways as docs/load-balancing.md starts them, and HAProxy before them when both can speak."""
    names, gateways = ("gateway-1", "gateway-2"), {}
    with ExitStack() as stack:
        for name in names:
            (folder / name).mkdir()
            flags = ("--name", name, "--trusted-proxy", "127.0.0.1")
            gateways[name] = stack.enter_context(server_process(folder / name, *flags, workers=2, **options))
        for gateway in gateways.values():
            gateway.wait_ready()
        port = stack.enter_context(haproxy(folder, gateways))
        yield Balanced(gateways, port)


@contextmanager
def haproxy(folder: Path, gateways: dict[str, ServerProcess]) -> Iterator[int]:
    """On a port that is open already: who comes before HAProxy has started waits for it."""
    config = CONFIG.read_text()
    for number, gateway in enumerate(gateways.values(), start=1):
        config = replaced(config, f"10.0.0.1{number}:8000", f"127.0.0.1:{gateway.port}")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        path = folder / "haproxy.cfg"
        path.write_text(replaced(config, "bind :8000\n", f"bind fd@{number}\n"))
        log = (folder / "haproxy.log").open("w")
        process = subprocess.Popen(["haproxy", "-db", "-f", path], stdout=log, stderr=log, pass_fds=[number])
    try:
        yield port
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
        log.close()


def replaced(config: str, old: str, new: str) -> str:
    assert config.count(old) == 1
    return config.replace(old, new)


@dataclass
class Client:
    """Hears one answer, keeps count, and comes back as docs/stream-tokens.md tells."""

    url: str
    audio: bytes = b""
    messages: list[dict[str, Any]] = field(default_factory=list)
    token: str = ""
    close_code: int | None = None
    ws: websockets.ClientConnection = field(init=False)

    @property
    def gateway(self) -> str:
        return self.token.partition(".")[0]

    @property
    def codes(self) -> list[str]:
        return [message["code"] for message in self.messages if message["type"] == "error"]

    async def come(self, **place: Any) -> None:
        query = urlencode({"resume": 1} | place)
        self.ws = await websockets.connect(f"{self.url}/stream-tokens?{query}", open_timeout=PATIENCE_S, max_size=None)

    async def speak(self) -> None:
        for sentence in SENTENCES:
            await self.ws.send(json.dumps({"token": f"{sentence} "}))
        await self.ws.send(json.dumps({"done": True}))

    async def lose(self) -> None:
        self.ws.transport.abort()
        await self.ws.wait_closed()

    async def come_back(self) -> None:
        await self.come(resume=self.token, bytes=len(self.audio), messages=len(self.messages))

    async def hear(self, audio_bytes: int = 2**31) -> None:
        """So much audio, or all there is."""
        with suppress(websockets.ConnectionClosed):
            while len(self.audio) < audio_bytes:
                self._take(await asyncio.wait_for(self.ws.recv(), PATIENCE_S))
        self.close_code = self.ws.close_code

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.audio += message
            return
        told = json.loads(message)
        if told["type"] == "ready":
            self.token = told["resume"]
        else:
            self.messages.append(told)


@asynccontextmanager
async def speaking(at: Balanced, clients: int = CLIENTS) -> AsyncIterator[list[Client]]:
    """Clients that have heard the beginning of their answers, at both gateways."""
    all_of_them = [Client(at.ws) for _ in range(clients)]
    for client in all_of_them:
        await client.come()
        await client.speak()
    await asyncio.gather(*(client.hear(1) for client in all_of_them))
    assert set(Counter(client.gateway for client in all_of_them)) == set(at.gateways)
    yield all_of_them
    for client in all_of_them:
        client.ws.transport.abort()


async def speak_until(at: Balanced, is_over: asyncio.Event) -> int:
    """One answer after the other, each on a connection of its own; how many there were."""
    answers = 0
    while not is_over.is_set():
        answer = await ask(at.ws, {"token": SHORT, "done": True})
        assert (answer.codes, answer.audio == tone_bytes(SHORT), answer.close_code) == ([], True, 1000)
        answers += 1
    return answers


async def fetch_until(at: Balanced, is_over: asyncio.Event) -> int:
    """The same with whole files over HTTP."""
    wanted, files = {"text": SHORT, "backend": "tone"}, 0
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        while not is_over.is_set():
            answer = await client.post(f"http://127.0.0.1:{at.port}/tts", json=wanted)
            assert (answer.status_code, answer.content[44:] == tone_bytes(SHORT)) == (200, True)
            files += 1
    return files


def test_drained_under_load_a_gateway_is_missed_by_nobody(tmp_path: Path) -> None:
    async def run(at: Balanced) -> list[int]:
        is_over = asyncio.Event()
        crowd = [asyncio.create_task(work(at, is_over)) for work in (speak_until, fetch_until) for _ in range(3)]
        async with speaking(at) as clients:
            at.gateways["gateway-1"].send(signal.SIGTERM)
            await asyncio.gather(*(client.hear() for client in clients))
            assert [client.audio == ANSWER for client in clients] == [True] * CLIENTS
            assert {client.close_code for client in clients} == {1000}
        assert await asyncio.to_thread(at.gateways["gateway-1"].wait) == 0
        for _ in range(3):  # and everybody goes on with the other one
            assert (await ask(at.ws, {"token": SHORT, "done": True})).audio == tone_bytes(SHORT)
        is_over.set()
        return await asyncio.gather(*crowd)

    with balanced(tmp_path, speed_rtf=0.2) as at:
        told = asyncio.run(run(at))
        print("answers and files of each client:", told)
        assert min(told) > 0


def test_killed_a_gateway_is_missed_by_its_own_clients_only(tmp_path: Path) -> None:
    async def run(at: Balanced) -> None:
        async with speaking(at) as clients:
            at.gateways["gateway-1"].send(signal.SIGKILL)
            await asyncio.gather(*(client.hear() for client in clients))
            lost = [client for client in clients if client.gateway == "gateway-1"]
            others = [client for client in clients if client.gateway == "gateway-2"]
            assert lost and all(client.audio != ANSWER for client in lost)
            assert [(client.audio == ANSWER, client.close_code) for client in others] == [(True, 1000)] * len(others)
            await lost[0].come_back()
            await lost[0].hear()
            assert lost[0].codes == ["cannot_resume"]
        for _ in range(4):
            assert (await ask(at.ws, {"token": SHORT, "done": True})).audio == tone_bytes(SHORT)

    with balanced(tmp_path, speed_rtf=0.5) as at:
        asyncio.run(run(at))


def test_a_file_that_a_killed_gateway_had_not_begun_to_send_is_made_by_another(tmp_path: Path) -> None:
    async def run(at: Balanced) -> None:
        wanted = {"text": " ".join(SENTENCES), "backend": "tone"}
        async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
            url = f"http://127.0.0.1:{at.port}/tts"
            asked = [asyncio.create_task(client.post(url, json=wanted)) for _ in range(4)]
            await eventually(lambda: all(len(at.streams_of(name)) == 2 for name in at.gateways), "both have two")
            at.gateways["gateway-1"].send(signal.SIGKILL)
            files = await asyncio.gather(*asked)
        assert [(file.status_code, file.content[44:] == ANSWER) for file in files] == [(200, True)] * 4

    with balanced(tmp_path, speed_rtf=0.5) as at:
        asyncio.run(run(at))


def test_a_client_that_lost_its_socket_comes_back_to_the_gateway_that_knows_it(tmp_path: Path) -> None:
    async def run(at: Balanced) -> None:
        async with speaking(at) as clients:
            for client in clients:
                await client.lose()
            for client in reversed(clients):
                before = client.token
                await client.come_back()
                await client.hear()
                assert (client.token, client.codes) == (before, [])
            assert [client.audio == ANSWER for client in clients] == [True] * CLIENTS

    with balanced(tmp_path, speed_rtf=0.2) as at:
        asyncio.run(run(at))


def test_a_token_of_nobody_and_one_without_a_name_are_answered_by_anybody(tmp_path: Path) -> None:
    async def run(at: Balanced) -> None:
        for token in ("gateway-3.secret", "gateway-1.secret", "secret", ".", "%[src].x"):
            client = Client(at.ws, token=token)
            await client.come_back()
            await client.hear()
            assert client.codes == ["cannot_resume"]

    with balanced(tmp_path) as at:
        asyncio.run(run(at))


def test_a_gateway_sees_the_addresses_of_its_clients_and_nobody_lies_about_his(tmp_path: Path) -> None:
    async def run(at: Balanced) -> None:
        lie = {"X-Forwarded-For": "203.0.113.7"}
        connect = partial(websockets.connect, f"{at.ws}/stream-tokens", local_addr=("127.0.0.3", 0))
        async with connect(additional_headers=lie) as one, connect(additional_headers=lie) as other:
            await asyncio.gather(one.recv(), other.recv())
            seen = [stream["client"] for name in at.gateways for stream in at.streams_of(name)]
            assert seen == ["127.0.0.3"] * 2

    with balanced(tmp_path) as at:
        asyncio.run(run(at))


def test_a_gateway_that_cannot_speak_gets_nobody(tmp_path: Path) -> None:
    async def run(at: Balanced) -> None:
        stopped = at.gateways["gateway-1"]
        for worker in stopped.workers():
            worker.kill()
        await eventually(lambda: stopped.get("/ready")[0] == 503, "its workers are gone")
        await eventually(lambda: b"gateway-1 is DOWN" in (tmp_path / "haproxy.log").read_bytes(), "HAProxy has seen it")
        for _ in range(3):
            assert (await ask(at.ws, {"token": SHORT, "done": True})).audio == tone_bytes(SHORT)
        assert stopped.get("/ready")[0] == 503

    gate = tmp_path / "gate"
    with balanced(tmp_path, load_fault=f"while={gate};raise") as at:
        gate.touch()
        asyncio.run(run(at))


def test_what_speaks_of_one_gateway_only_is_not_asked_through_the_balancer(tmp_path: Path) -> None:
    with balanced(tmp_path) as at:
        paths = ("/metrics", "/status", "/backends/tone/restart", "/loras/load", "/backends", "/ready", "/voices")
        assert [at.get(path).status_code for path in paths] == [403] * 4 + [200] * 3
