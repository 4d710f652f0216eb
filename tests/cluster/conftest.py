"""A Ray cluster of several nodes on this machine, and backends whose workers live there."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import websockets

from tests.cluster.nodes import add_node, ray_cluster
from tests.harness import NO_VOICES, Answer, RunningServer, eventually, read_answer, running_server, say, tone_config
from tests.process.pool_driver import first_audio, start_of_render
from voice_server.core.limits import Limits, WorkerLimits
from voice_server.pool.pool import Pool
from voice_server.pool.process import Guardian
from voice_server.pool.remote import Bridge, RayLauncher
from voice_server.voices import VoiceStore

START_S = 90.0  # of nodes, actors and their workers, on a machine that has other things to do
LASTING = replace(WorkerLimits(), backoff_first_s=0.1, backoff_max_s=0.5, crash_loop_starts=1000)


@dataclass
class Nodes:
    """A head without room for workers, and nodes that have room for one each."""

    cluster: Any
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)  # in the environment of every worker of this test

    drained: list[Any] = field(default_factory=list)

    def add(self) -> Any:
        return add_node(self.cluster, 1)

    def workers(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self.mark in _environ(process).values()]

    def raylet_of(self, pid: int) -> int:
        """The node that this worker lives on."""
        parents = psutil.Process(pid).parents()
        return next(parent.pid for parent in parents if parent.name() == "raylet")

    def lose(self, pid: int) -> None:
        """The node of this worker, as if it had no power any more."""
        raylet = psutil.Process(self.raylet_of(pid))
        for process in [raylet, *raylet.children(recursive=True)]:
            process.kill()
        self._forget(raylet.pid)

    def lose_raylet(self, pid: int) -> None:
        raylet = self.raylet_of(pid)
        os.kill(raylet, signal.SIGKILL)
        self._forget(raylet)

    def drain(self, pid: int) -> None:
        """As who takes its machine away announces it."""
        node = self._node(self.raylet_of(pid))
        self.drained.append(node)
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", self.cluster.address]
        why = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "a test", "--node-id", node.node_id]
        subprocess.run([*command, *why, "--deadline-remaining-seconds", "600"], check=True, capture_output=True)

    @contextmanager
    def parted(self, pid: int) -> Iterator[None]:
        """The node of this worker does nothing any more, nobody knows why; at the end it wakes."""
        raylet = psutil.Process(self.raylet_of(pid))
        frozen = [raylet, *raylet.children(recursive=True)]
        for process in frozen:
            process.suspend()
        try:
            yield
        finally:
            for process in frozen:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def _forget(self, raylet: int) -> None:
        node = self._node(raylet)
        self.cluster.worker_nodes.discard(node)
        _raylet(node).wait()  # its workers ask whether it is there, and a zombie is

    def _node(self, raylet: int) -> Any:
        return next(node for node in self.cluster.worker_nodes if _raylet(node).pid == raylet)


def _raylet(node: Any) -> subprocess.Popen[bytes]:
    process: subprocess.Popen[bytes] = node.all_processes["raylet"][0].process
    return process


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:  # gone, or not ours
        return {}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    pytest.importorskip("ray", reason="the extra `cluster` is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)  # a node finds us nowhere but in what travels
        with ray_cluster() as running:
            yield running


@pytest.fixture
async def nodes(anyio_backend: str, cluster: Any) -> AsyncIterator[Nodes]:
    """Two of them at the start. No worker is left at the end."""
    nodes = Nodes(cluster)
    for surplus in [*cluster.worker_nodes][2:]:
        cluster.remove_node(surplus)
    while len(cluster.worker_nodes) < 2:
        nodes.add()
    yield nodes
    await eventually(lambda: not nodes.workers(), "no worker is left on any node")
    for node in cluster.worker_nodes.intersection(nodes.drained):
        cluster.remove_node(node)
    cluster.worker_nodes = {node for node in cluster.worker_nodes if _raylet(node).poll() is None}


Serving = Callable[..., AbstractAsyncContextManager[RunningServer]]


@pytest.fixture
def serving(nodes: Nodes, tone_python: Path) -> Serving:
    @asynccontextmanager
    async def run(
        workers: int = 2,
        *,
        voices: VoiceStore = NO_VOICES,
        changes: Mapping[str, Any] | None = None,
        wait: bool = True,
        **options: Any,
    ) -> AsyncIterator[RunningServer]:
        """A gateway, all workers of which live on nodes; with `changes` to the configuration of its backend."""
        config = tone_config(workers=workers, limits=LASTING, **options)
        config = replace(config, env={"CLUSTER_TEST": nodes.mark}, **(changes or {}))
        guardian = Guardian()
        bridge = Bridge(nodes.cluster.address, guardian, os.environ)
        pools: list[Pool[Any]] = []
        launcher = RayLauncher(bridge, lambda process: pools[0].vacate(process))
        try:
            async with running_server(
                config, tone_python, limits=Limits(), launcher=launcher, wait=False, voices=voices
            ) as server:
                pools.append(server.backend.pool)
                if wait:
                    await all_ready(server)
                yield server
        finally:
            bridge.close()
            guardian.close()

    return run


async def all_ready(server: RunningServer, *, without: int = 0) -> None:
    def are_ready() -> bool:
        return all(slot.state == "ready" and slot.pid != without for slot in server.backend.pool.slots)

    await eventually(are_ready, "every slot has a worker", START_S)


async def spoken_while(server: RunningServer, text: str, disaster: Callable[[int], None]) -> tuple[Answer, int]:
    """The whole answer, of which some was heard when the disaster befell its worker; and who that was."""
    async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
        await say(ws, {"token": text, "done": True})
        pid = await start_of_render(ws, server)
        heard = await first_audio(ws, 10_000)
        disaster(pid)
        answer = await asyncio.wait_for(read_answer(ws), START_S)
    answer.audio = heard + answer.audio
    return answer, pid
