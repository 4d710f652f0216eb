"""client.py --resume in a network that drops connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.programs import Outcome, program
from tests.fault_proxy import FaultProxy, fault_proxy
from tests.harness import FAST, RunningServer, eventually, running_server, tone_bytes, tone_config
from voice_server.core.limits import Limits, ResumeLimits

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCES = [f"Sentence number {number} is spoken over a bad network." for number in range(8)]


def sent_bytes(server: RunningServer) -> int:
    """Of audio, to all who may come back."""
    return sum(tether.tape.audio_bytes for tether in server.house.tethers)


async def until_sent(server: RunningServer, audio_bytes: int) -> None:
    await eventually(lambda: sent_bytes(server) > audio_bytes, "it speaks")


@asynccontextmanager
async def bad_network(python: Path, limits: Limits = FAST) -> AsyncIterator[tuple[RunningServer, FaultProxy]]:
    async with running_server(tone_config(speed_rtf=0.1), python, limits=limits) as server:
        async with fault_proxy(server.port) as proxy:
            yield server, proxy


def client(port: int, folder: Path, *flags: str) -> asyncio.Task[Outcome]:
    url = f"ws://127.0.0.1:{port}/stream-tokens"
    arguments = ("--url", url, "--token-delay", "0.01", "--output", "a.pcm", "--text", " ".join(SENTENCES), *flags)
    return asyncio.create_task(asyncio.to_thread(program, "client.py", *arguments, folder=folder))


async def test_the_file_is_whole_however_often_the_connection_is_reset(tone_python: Path, tmp_path: Path) -> None:
    async with bad_network(tone_python) as (server, proxy):
        speaking, sent = client(proxy.port, tmp_path, "--resume"), 0
        for _ in range(5):
            await until_sent(server, sent)
            sent = sent_bytes(server)
            proxy.reset()
        ended = await speaking
    assert (ended.code, ended.err) == (0, "")
    assert (tmp_path / "a.pcm").read_bytes() == tone_bytes(*SENTENCES)


async def test_who_lacks_what_is_not_kept_any_more_is_told_so(tone_python: Path, tmp_path: Path) -> None:
    async with bad_network(tone_python, replace(FAST, resume=ResumeLimits(kept_bytes=1))) as (server, proxy):
        speaking = client(proxy.port, tmp_path, "--resume")
        await until_sent(server, 0)
        proxy.delay_s = 1.0
        await until_sent(server, sent_bytes(server) + 10_000)
        proxy.reset()
        proxy.delay_s = 0.0
        ended = await speaking
    assert ended.code == 1
    assert ended.err.startswith("error cannot_resume: ")


async def test_without_it_a_lost_connection_is_the_end(tone_python: Path, tmp_path: Path) -> None:
    async with bad_network(tone_python) as (server, proxy):
        speaking = client(proxy.port, tmp_path)
        await eventually(lambda: any(guest.is_busy for guest in server.house.guests), "it is speaking")
        proxy.reset()
        ended = await speaking
    assert ended.code == 1
    assert "closed: the connection ended" in ended.err
