"""`--listen`: several ports of one real process lead to the same house."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from pathlib import Path

import pytest
import websockets

from tests.e2e.test_voxcpm_tts import Heard, hear, hear_one, tts
from tests.harness import ask, tone_bytes, wait_until
from tests.server_process import ServerProcess, server_process

pytestmark = pytest.mark.usefixtures("no_leaks")

TEXT = "This sentence is spoken at the pace of a person, so that a signal comes in its middle."
SOON_S = 2.0  # the text takes longer
ALL = ("http=127.0.0.1:0", "voxcpm=127.0.0.1:0", "wyoming=127.0.0.1:0")


def flags(*listens: str) -> list[str]:
    return [part for listen in listens for part in ("--listen", listen)]


def addresses(server: ServerProcess) -> dict[str, int]:
    """The port of each scheme, after the first line, which is that of --port."""
    found = re.findall(r"^listening on (\w+)://127\.0\.0\.1:(\d+)", server.stderr, re.MULTILINE)
    return {scheme: int(port) for scheme, port in found[1:]}


async def describe(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'{"type": "describe"}\n')
    told = json.loads(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return str(told["type"])


async def speak(url: str) -> bytes:
    async with websockets.connect(url) as ws:
        await ws.send(tts("a", TEXT))
        return (await hear(ws))["a"].audio


def test_every_port_leads_to_the_same_voices(tmp_path: Path) -> None:
    with server_process(tmp_path, *flags(*ALL)) as server:
        server.wait_ready()
        wait_until(lambda: len(addresses(server)) == 3, "all ports are told")
        at = addresses(server)
        audio = [
            asyncio.run(speak(f"ws://127.0.0.1:{at['ws']}")),
            asyncio.run(speak(f"ws://127.0.0.1:{at['ws']}/tts?token=x")),
            asyncio.run(speak(f"ws://127.0.0.1:{at['http']}/tts")),
            asyncio.run(ask(f"ws://127.0.0.1:{at['http']}", {"token": TEXT, "done": True})).audio,
            asyncio.run(ask(f"ws://127.0.0.1:{at['ws']}", {"token": TEXT, "done": True})).audio,
        ]
        assert set(audio) == {tone_bytes(TEXT)}
        assert asyncio.run(describe(at["tcp"])) == "info"
        with pytest.raises(websockets.InvalidStatus):
            asyncio.run(speak(f"ws://127.0.0.1:{at['http']}/"))


def test_all_ports_are_drained_together(tmp_path: Path) -> None:
    async def stay(server: ServerProcess, port: int) -> bytes:
        async with websockets.connect(f"ws://127.0.0.1:{port}/") as ws:
            await ws.send(tts("a", TEXT))
            heard = {"a": Heard()}
            while not heard["a"].frames:
                await hear_one(ws, heard)
            ports = (server.port, *addresses(server).values())
            assert not any(map(is_refused, ports))
            server.send(signal.SIGTERM)
            for other in ports:
                await asyncio.to_thread(wait_until, lambda other=other: is_refused(other), f"{other} is closed", SOON_S)
            audio = (await hear(ws, heard))["a"].audio
            await ws.wait_closed()
            assert ws.close_code == 1012
            return audio

    with server_process(tmp_path, *flags(*ALL), speed_rtf=1.0) as server:
        server.wait_ready()
        wait_until(lambda: len(addresses(server)) == 3, "all ports are told")
        assert asyncio.run(stay(server, addresses(server)["ws"])) == tone_bytes(TEXT)
        assert server.wait() == 0


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_client_of_another_protocol_does_not_hold_the_end_up(tmp_path: Path, number: signal.Signals) -> None:
    with server_process(tmp_path, *flags(ALL[2])) as server:
        server.wait_ready()
        wait_until(lambda: "tcp" in addresses(server), "the port is told")
        with socket.create_connection(("127.0.0.1", addresses(server)["tcp"])) as client:
            client.sendall(b'{"type": "describe"}\n')
            assert client.recv(10)
            server.send(number)
            wait_until(lambda: is_refused(server.port), "it ends", 2.0)
            assert server.wait() == 0
        assert "Traceback" not in server.stderr


def test_a_flag_that_means_nothing_is_named(tmp_path: Path) -> None:
    with server_process(tmp_path, *flags("voxcpm=9300")) as server:
        assert server.wait() == 2
        assert "argument --listen: 'voxcpm=9300' is not NAME=HOST:PORT" in server.stderr


def test_a_taken_port_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = f"voxcpm=127.0.0.1:{taken.getsockname()[1]}"
        with server_process(tmp_path, *flags(listen)) as server:
            assert server.wait() == 1
            assert server.stderr.startswith(f"voice-server: cannot listen on {listen[7:]} (--listen {listen})")


def test_a_port_without_tokens_is_not_opened_to_the_network(tmp_path: Path) -> None:
    with server_process(tmp_path, *flags("wyoming=0.0.0.0:0")) as server:
        assert server.wait() == 1
        assert "--listen wyoming=0.0.0.0:0: Wyoming has no tokens" in server.stderr
