"""A real server in its own process, for the benches: `python -m voice_server` on a free port of the loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_READY_S = 120
_STOP_S = 60  # the gateway lets running answers finish for 30 s


@dataclass(frozen=True)
class Gateway:
    pid: int
    port: int
    wyoming_port: int = 0

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/stream-tokens"


@contextmanager
def running_gateway(workers: int, connections: int = 2000, **options: Any) -> Iterator[Gateway]:
    """The tone backend with these constructor options."""
    adapter = "voice_server.backends.tone:ToneBackend"
    with serving({"adapter": adapter, "workers": workers, "options": options}, connections) as gateway:
        yield gateway


@contextmanager
def serving(backend: dict[str, Any], connections: int = 2000, wyoming_port: int = 0) -> Iterator[Gateway]:
    """Any backend, as backends.yaml describes one. `wyoming_port`: 0 is none."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.yaml"
        config.write_text(json.dumps({"backends": {"bench": backend}}))  # JSON is YAML
        flags = ["--config", str(config), "--backend", "bench", "--port", "0"]
        limits = ["--connections-per-address", str(connections)]
        more = ["--listen", f"wyoming=127.0.0.1:{wyoming_port}"] if wyoming_port else []
        process = subprocess.Popen(
            [sys.executable, "-m", "voice_server", *flags, *limits, *more], stderr=subprocess.PIPE, text=True
        )
        try:
            yield Gateway(process.pid, _port(process), wyoming_port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=_STOP_S)


def _port(process: subprocess.Popen[str]) -> int:
    assert process.stderr
    for line in process.stderr:
        if "listening on http://" in line:
            port = int(line.split("http://")[1].split()[0].rsplit(":", 1)[1])
            _wait_ready(port)
            return port
    raise SystemExit("the gateway did not start")


def _wait_ready(port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready"):
                return
        except urllib.error.HTTPError:
            time.sleep(0.1)
    raise SystemExit("the backend did not become ready")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def machine() -> str:
    """For the last column of a table: what these numbers were seen on."""
    return f"{os.cpu_count()} cores, Python {sys.version.split()[0]}"
