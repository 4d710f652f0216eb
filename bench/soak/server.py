"""The gateway under test: a process of its own, as its operator starts it, and everything that can be seen of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.gateway import Gateway
from bench.soak.journal import Sample

_START_S, _STOP_S, _LOOK_S = 120.0, 60.0, 10.0
_ENGINE = Path(__file__).with_name("engine.py")
_GRAVE = re.compile(r"\b(ERROR|CRITICAL)\b|Traceback|never retrieved|never awaited|was destroyed but it is pending")


@dataclass(slots=True)
class Server:
    gateway: Gateway
    orders: Path  # where engine.py looks for faults
    log: Path
    family: dict[int, psutil.Process] = field(default_factory=dict)  # all that ever was seen of its children

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self.gateway.pid)

    def workers(self) -> list[psutil.Process]:
        """Those that live and run."""
        self._see_family()
        return [one for one in self.process.children() if _is_running_worker(one)]

    def sample(self, at_s: float) -> Sample:
        self._see_family()
        process = self.process
        with process.oneshot():
            return Sample(at_s, process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())

    def status(self) -> dict[str, Any]:
        """Of its only backend, as `/status` tells it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.gateway.port}/status", timeout=_LOOK_S) as response:
            told: dict[str, Any] = json.load(response)["backends"][0]
            return told

    def grave_lines(self) -> list[str]:
        return [line for line in self._lines() if _GRAVE.search(line)]

    def warnings(self) -> int:
        return sum(" WARNING " in line for line in self._lines())

    def zombies(self) -> int:
        return sum(child.status() == psutil.STATUS_ZOMBIE for child in self.process.children())

    def survivors(self) -> list[int]:
        """Of its family, when it has ended."""
        return [pid for pid, one in self.family.items() if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]

    def _lines(self) -> list[str]:
        return self.log.read_text("utf-8", "replace").splitlines()

    def _see_family(self) -> None:
        self.family |= {
            child.pid: child for child in self.process.children(recursive=True) if child.pid not in self.family
        }


def _is_running_worker(process: psutil.Process) -> bool:
    try:
        states = (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED)
        return any("bootstrap.py" in part for part in process.cmdline()) and process.status() not in states
    except psutil.NoSuchProcess:
        return False


@contextmanager
def serving(folder: Path, workers: int, **options: Any) -> Iterator[tuple[Server, Callable[[], int]]]:
    """A server that is ready, and what stops it: politely, and gives its exit code."""
    orders, log, config = folder / "orders", folder / "gateway.log", folder / "soak.yaml"
    orders.mkdir()
    backend = {
        "adapter": f"{_ENGINE}:FaultyTone",
        "workers": workers,
        "options": {"orders": str(orders), **options},
        "opts": {"speed": {"type": "float", "min": 0.25, "max": 4.0, "default": 1.0}},
        "voice": "tone",
        "warmup_text": "",  # it would take an order
    }
    config.write_text(json.dumps({"backends": {"soak": backend}}))  # JSON is YAML
    command = [sys.executable, "-m", "voice_server", "--config", str(config), "--backend", "soak", "--port", "0"]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors, stdout=subprocess.DEVNULL)

    def stop() -> int:
        process.send_signal(signal.SIGTERM)
        return process.wait(_STOP_S)

    try:
        server = Server(Gateway(process.pid, _port(process, log)), orders, log)
        wait_until(lambda: len(server.workers()) == workers and are_ready(server.status()), _START_S, "to start")
        yield server, stop
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    def port() -> int:
        found = re.search(r"listening on http://\S+:(\d+)", log.read_text("utf-8", "replace"))
        return int(found[1]) if found else 0

    wait_until(lambda: port() > 0 or process.poll() is not None, _START_S, "to listen")
    if not port():
        raise SystemExit(f"the gateway did not start: {log.read_text('utf-8', 'replace')}")
    return port()


def are_ready(status: dict[str, Any]) -> bool:
    return all(worker["state"] == "ready" for worker in status["workers"])


def is_at_rest(status: dict[str, Any]) -> bool:
    """All workers are there, and nobody wants anything of them."""
    return are_ready(status) and not status["streams"] and not any(one["open_renders"] for one in status["workers"])


def wait_until(is_true: Callable[[], bool], patience_s: float, what: str) -> None:
    deadline = time.monotonic() + patience_s
    while not is_true():
        if time.monotonic() > deadline:
            raise SystemExit(f"the gateway took more than {patience_s:g} s {what}")
        time.sleep(0.1)
