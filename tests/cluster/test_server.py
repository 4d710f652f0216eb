"""`python -m voice_server --cluster ADDRESS`, as its operator runs it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.cluster.conftest import START_S
from tests.cluster.test_head import free_port
from tests.harness import ask, tone_bytes, wait_until
from tests.placement import cluster_beside
from tests.server_process import ServerProcess, server_process

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

TEXT = "Whoever speaks here lives somewhere else, and takes a while to say so."
FORMS = ("auto", "ray://")
TOKEN = "a-token-of-the-cluster-0123456789"


@dataclass(frozen=True)
class Addresses:
    gcs: str
    client: str


@pytest.fixture(scope="module")
def addresses() -> Iterator[Addresses]:
    port = free_port()
    with cluster_beside(nodes=3, cpus=2, client_port=port) as address:
        yield Addresses(address, f"ray://127.0.0.1:{port}")


@pytest.mark.parametrize("form", ["HOST:PORT", *(pytest.param(form, marks=pytest.mark.release) for form in FORMS)])
def test_a_server_speaks_from_a_cluster_drains_and_leaves_nothing_there(
    form: str, addresses: Addresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if form == "ray://":
        pytest.importorskip("grpc", reason="Ray's client needs ray[client]")
    if form == "auto":
        monkeypatch.setenv("RAY_ADDRESS", addresses.gcs)  # there may be other clusters on this machine
    address = {"HOST:PORT": addresses.gcs, "auto": "auto", "ray://": addresses.client}[form]
    with server_process(tmp_path, "--cluster", address, "--pool-size", "3", speed_rtf=0.5) as server:
        pids = _ready(server)
        children = psutil.Process(server.pid).children(recursive=True)
        assert asyncio.run(_spoken_while_it_drains(server)) == tone_bytes(TEXT)
        assert server.wait() == 0
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "no worker is left", START_S)
    assert not any(child.is_running() for child in children)


@pytest.mark.release
def test_a_cluster_that_wants_a_token_gets_it_and_workers_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    with cluster_beside(nodes=1, cpus=2) as address:
        with server_process(tmp_path, "--cluster", address) as server:
            (pid,) = _ready(server)
            assert TOKEN not in psutil.Process(pid).environ().values()
            assert asyncio.run(ask(server.ws, {"token": TEXT, "done": True})).audio == tone_bytes(TEXT)
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        monkeypatch.setenv("HOME", str(tmp_path))  # where another one may lie
        with server_process(tmp_path, "--cluster", address) as server:
            wait_until(lambda: "does not take us" in server.get("/ready")[1]["reason"], "it is turned away", START_S)


def _ready(server: ServerProcess) -> list[int]:
    """The pids of its workers."""

    def pids() -> list[int]:
        (backend,) = server.get("/backends")[1]["backends"]
        return [worker["pid"] for worker in backend["workers"] if worker["state"] == "ready"]

    (backend,) = server.get("/backends")[1]["backends"]
    wait_until(lambda: len(pids()) == len(backend["workers"]), "all workers are ready", START_S)
    return pids()


async def _spoken_while_it_drains(server: ServerProcess) -> bytes:
    speaking = asyncio.create_task(ask(server.ws, {"token": TEXT, "done": True}))
    await asyncio.to_thread(wait_until, lambda: _open_renders(server) > 0, "it speaks")
    server.send(signal.SIGTERM)
    return (await speaking).audio


def _open_renders(server: ServerProcess) -> int:
    (backend,) = server.get("/backends")[1]["backends"]
    return sum(worker["open_renders"] for worker in backend["workers"])
