"""The gateway as its operator runs it: `python -m voice_server` in a process of its own, to be signalled and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.harness import TIMEOUT_S, wait_until
from tests.placement import PLACEMENT, needs_home

HOME = Path(__file__).parents[1]


class ServerProcess:
    def __init__(self, process: subprocess.Popen[str], patience_s: float = 3 * TIMEOUT_S) -> None:
        self._process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        has_told = "the server says where it listens"
        wait_until(lambda: self.port > 0 or process.poll() is not None, has_told, patience_s)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def port(self) -> int:
        for line in self._lines:
            if "listening on http" in line:
                return int(line.split("://")[1].split()[0].rsplit(":", 1)[1])
        return 0

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def stderr(self) -> str:
        return "".join(self._lines)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=TIMEOUT_S) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def wait_ready(self) -> None:
        patience_s = 5 * TIMEOUT_S if PLACEMENT.cluster else TIMEOUT_S
        wait_until(lambda: self.get("/ready")[0] == 200, "the server is ready", patience_s)

    def workers(self) -> list[psutil.Process]:
        """The worker processes, without the guardian."""
        needs_home("it looks for the children of the gateway")
        children = psutil.Process(self.pid).children()
        return [child for child in children if any("bootstrap.py" in part for part in child.cmdline())]

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit code. What the server still had to say is in `stderr` then."""
        try:
            code = self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGABRT)  # and faulthandler tells where each thread stands
            self._process.wait(TIMEOUT_S)
            self._reader.join(TIMEOUT_S)
            raise AssertionError(f"the server did not end within {TIMEOUT_S} s:\n{self.stderr}") from None
        self._reader.join(TIMEOUT_S)
        return code

    def _read(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._lines.append(line)


@contextmanager
def server_process(
    folder: Path, *flags: str, workers: int | dict[str, int] = 1, by: Sequence[str] = (), **options: Any
) -> Iterator[ServerProcess]:
    """A server with the tone backend and these constructor options, on a free port; `by`: a command that runs it."""
    backend = {"adapter": "voice_server.backends.tone:ToneBackend", "workers": workers, "options": options}
    opts = {"fault": {"type": "str", "default": ""}}
    config = folder / "tone.yaml"
    config.write_text(json.dumps({"backends": {"tone": {**backend, "opts": opts}}}))  # JSON is YAML
    command = [sys.executable, "-m", "voice_server", "--config", str(config), "--backend", "tone", "--port", "0"]
    if PLACEMENT.cluster:
        flags = (*flags, "--cluster", PLACEMENT.cluster)
        PLACEMENT.launched += 1
    environ = {**os.environ, "PYTHONPATH": str(HOME), "PYTHONFAULTHANDLER": "1"}
    process = subprocess.Popen([*by, *command, *flags], stderr=subprocess.PIPE, text=True, env=environ)
    try:
        yield ServerProcess(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()


def is_gone(process: psutil.Process) -> bool:
    """Ended; a zombie that nobody has reaped yet counts."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
