"""A cluster that is not there, is lost, and comes back: home goes on, and what is missing is said in words."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.cluster.conftest import START_S
from tests.cluster.nodes import add_node, ray_cluster
from tests.harness import TIMEOUT_S, tone_bytes, wait_until
from tests.server_process import ServerProcess, server_process

pytest.importorskip("ray", reason="the extra `cluster` is not installed")
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

WAV_HEADER_BYTES = 44
TEXT = "Somebody is at home."
IMPATIENT = {"gcs_rpc_server_reconnect_timeout_s": 5}  # how long nodes and drivers wait for a lost head


def test_a_server_whose_cluster_is_not_there_says_so_and_speaks_from_home(tmp_path: Path) -> None:
    port = free_port()
    with _server(tmp_path, f"127.0.0.1:{port}") as server:
        wait_until(lambda: _is_waiting_for(server, port), "it says what it waits for", START_S)
        assert _spoken(server, "near") == tone_bytes(TEXT)
        assert server.get("/ready")[0] == 200
        server.send(15)
        assert server.wait() == 0


@pytest.mark.release
def test_far_workers_come_back_with_their_head_and_those_at_home_never_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    port = free_port()
    with _far_away(port) as cluster, _server(tmp_path, cluster.address) as server:
        wait_until(lambda: _can_speak(server, "tone"), "far workers are ready", START_S)
        assert _spoken(server, "tone") == tone_bytes(TEXT)
        cluster.head_node.kill_gcs_server()
        assert _spoken(server, "tone") == tone_bytes(TEXT), "while Ray carries it"
        wait_until(lambda: _is_waiting_for(server, port), "it says what it waits for", START_S)
        assert _spoken(server, "near") == tone_bytes(TEXT)
        assert "cannot be reached" in _backend(server, "tone")["problem"]
        cluster.shutdown()
        with _far_away(port):
            wait_until(lambda: _can_speak(server, "tone"), "far workers are back", 2 * START_S)
            assert _spoken(server, "tone") == tone_bytes(TEXT)
            server.send(15)
            assert server.wait() == 0


@pytest.mark.release
def test_they_come_back_to_a_gateway_that_is_no_node_of_their_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("grpc", reason="Ray's client needs ray[client]")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    port, client_port = free_port(), free_port()
    with _server(tmp_path, f"ray://127.0.0.1:{client_port}") as server:
        with _far_away(port, client_port):
            wait_until(lambda: _can_speak(server, "tone"), "far workers are ready", START_S)
            assert _spoken(server, "tone") == tone_bytes(TEXT)
        wait_until(lambda: _is_waiting_for(server, client_port), "it says what it waits for", START_S)
        assert _spoken(server, "near") == tone_bytes(TEXT)
        with _far_away(port, client_port):
            wait_until(lambda: _can_speak(server, "tone"), "far workers are back", 2 * START_S)
            assert _spoken(server, "tone") == tone_bytes(TEXT)
            server.send(15)
            assert server.wait() == 0


@contextmanager
def _far_away(port: int, client_port: int = 0) -> Iterator[Any]:
    with ray_cluster(port=port, client_port=client_port, **IMPATIENT) as cluster:
        add_node(cluster, 1)
        yield cluster


@contextmanager
def _server(folder: Path, address: str) -> Iterator[ServerProcess]:
    """One that speaks with `tone` from the cluster, and with `near` from home."""
    tone = {"adapter": "voice_server.backends.tone:ToneBackend"}
    config = folder / "both.yaml"
    config.write_text(json.dumps({"backends": {"tone": tone, "near": {**tone, "placement": "local"}}}))
    flags = ("--config", str(config), "--backend", "near", "--cluster", address)
    with server_process(folder, *flags) as server:
        children = psutil.Process(server.pid).children(recursive=True)
        wait_until(lambda: _can_speak(server, "near"), "it speaks from home")
        yield server
    wait_until(lambda: not any(child.is_running() for child in children), "no child is left", START_S)


def _backend(server: ServerProcess, name: str) -> dict[str, Any]:
    _, told = server.get("/backends")
    return next(backend for backend in told["backends"] if backend["name"] == name)


def _can_speak(server: ServerProcess, name: str) -> bool:
    return bool(_backend(server, name)["ready"])


def _is_waiting_for(server: ServerProcess, port: int) -> bool:
    """And says so where people look, in the same words."""
    _, status = server.get("/status")
    stages = [worker["stage"] for backend in status["backends"] for worker in backend["workers"]]
    problem = _backend(server, "tone")["problem"]
    words = f"{port} cannot be reached"
    return words in problem and any(words in stage for stage in stages)


def _spoken(server: ServerProcess, backend: str) -> bytes:
    asked = {"text": TEXT, "backend": backend}
    answer = httpx.post(f"http://127.0.0.1:{server.port}/tts", json=asked, timeout=TIMEOUT_S).raise_for_status()
    return answer.content[WAV_HEADER_BYTES:]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
