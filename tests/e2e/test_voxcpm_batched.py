"""Engine batched as clients meet it: four at one worker, one that leaves, one in a hurry, and a worker killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import websockets

from tests.conftest import LOAD_S
from tests.harness import Answer, RunningServer, ask, eventually, read_answer, running_server, say
from tests.process.pool_driver import all_ready, first_audio, start_of_render
from voice_server.config import load_config
from voice_server.core.limits import Limits
from voice_server.core.settings import BackendConfig

pytestmark = pytest.mark.anyio

HELLO = "Hello there, how are you?"
SECOND = 2 * 24_000  # bytes
PATIENCE_S = 60.0  # eight seconds of audio for each of four, on a busy machine
SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """For the whole module, because its server is shared."""
    return "asyncio"


# As after memory ran out with two renders in a step.
NARROW = """
from voice_server.backends.voxcpm import VoxcpmBackend

class Narrow(VoxcpmBackend):
    def __init__(self, device, **options):
        super().__init__(device, **options)
        self._engine._shrink(1)
"""


@pytest.fixture(scope="module")
def config(voxcpm_models: Path, tmp_path_factory: pytest.TempPathFactory) -> BackendConfig:
    """VoxCPM2, one worker."""
    backends = load_config(None).backends
    options = {"model": str(voxcpm_models / "2"), "engine": "batched", "renders": 8}
    env = {"VOICE_SERVER_CACHE": str(tmp_path_factory.mktemp("cache"))}
    return replace(backends["voxcpm-cpu"], options=options, opts=backends["voxcpm"].opts, env=env, workers=1)


@pytest.fixture(scope="module")
async def server(anyio_backend: str, voxcpm_python: Path, config: BackendConfig) -> AsyncIterator[RunningServer]:
    async with served(config, voxcpm_python) as server:
        yield server


@asynccontextmanager
async def served(config: BackendConfig, python: Path) -> AsyncIterator[RunningServer]:
    async with running_server(config, python, limits=Limits(), wait=False) as server:
        await all_ready(server.backend, without=0, timeout_s=LOAD_S)
        yield server


async def tell(server: RunningServer, seed: int, min_len: int = 20) -> Answer:
    answer = await asyncio.wait_for(ask(server.ws, message(seed, min_len)), PATIENCE_S)
    assert answer.codes == []
    return answer


def message(seed: int, min_len: int) -> dict[str, Any]:
    return {"opts": {"seed": seed, "min_len": min_len}, "token": HELLO, "done": True}


def assert_alike(audio: bytes, wanted: bytes) -> None:
    """To the last bits of 16: what float32 adds up in another order, resampled."""
    heard, expected = (np.frombuffer(pcm, "<i2").astype(int) for pcm in (audio, wanted))
    assert len(heard) == len(expected)
    assert np.abs(heard - expected).max() <= 2


async def test_four_who_listen_at_once_hear_what_each_hears_alone(server: RunningServer) -> None:
    alone = [(await tell(server, seed)).audio for seed in SEEDS]
    together = await asyncio.gather(*(tell(server, seed) for seed in SEEDS))
    for answer, audio in zip(together, alone, strict=True):
        assert_alike(answer.audio, audio)
    assert len(set(alone)) == len(SEEDS)


async def test_one_who_leaves_in_mid_sentence_is_not_noticed_by_the_others(server: RunningServer) -> None:
    alone = (await tell(server, 1)).audio
    async with websockets.connect(f"{server.ws}/stream-tokens", max_size=None) as ws:
        await say(ws, message(9, 50))
        staying = asyncio.create_task(tell(server, 1))
        await first_audio(ws, SECOND)
    assert_alike((await staying).audio, alone)
    await eventually(lambda: not server.backend.pool.dispatcher.snapshot().renders, "the render is gone")


async def test_a_worker_killed_in_mid_sentence_loses_nobody_a_sound(server: RunningServer) -> None:
    alone = (await tell(server, 1, 50)).audio
    async with websockets.connect(f"{server.ws}/stream-tokens", max_size=None) as ws:
        await say(ws, message(1, 50))
        pid = await start_of_render(ws, server)
        other = asyncio.create_task(tell(server, 2, 50))
        heard = await first_audio(ws, SECOND)
        os.kill(pid, signal.SIGKILL)
        rest = await asyncio.wait_for(read_answer(ws), PATIENCE_S)
    assert len(heard + rest.audio) == len(alone) == len((await other).audio)
    assert [told["exact"] for told in rest.of_type("resumed")] == [False]


async def test_where_a_step_has_no_room_for_all_who_listens_goes_before_who_wants_a_file(
    voxcpm_python: Path, config: BackendConfig, tmp_path: Path
) -> None:
    adapter = tmp_path / "narrow.py"
    adapter.write_text(NARROW)
    async with (
        served(replace(config, adapter=f"{adapter}:Narrow"), voxcpm_python) as server,
        httpx.AsyncClient(base_url=server.http, timeout=PATIENCE_S) as client,
    ):
        wanted = {"text": HELLO, "opts": {"seed": 1, "min_len": 50}}
        file = asyncio.create_task(client.post("/tts", json=wanted))
        await eventually(lambda: bool(server.backend.pool.dispatcher.snapshot().renders), "the file is begun")
        answer = await tell(server, 2, 6)
        assert not file.done()
        assert answer.audio
        assert len((await file).content) > 8 * 2 * 48_000  # bytes: it is complete, 8.3 s
