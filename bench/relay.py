"""The least that any gateway on this machine can cost: bytes from unix sockets to TCP sockets, and nothing else.

`python -m bench.relay` joins the n-th unix connection to the n-th TCP connection. It speaks no protocol, looks at no
byte and keeps no time, so what it uses is what the kernel and the event loop use. bench/cost.py measures it beside the
gateway, under the same traffic.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast


@dataclass(frozen=True)
class Relay:
    pid: int
    port: int
    path: str


@contextmanager
def running_relay() -> Iterator[Relay]:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "in")
        command = [sys.executable, "-m", "bench.relay", path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            try:
                yield Relay(process.pid, json.loads(process.stdout.readline()), path)
            finally:
                process.kill()


class _Pairs:
    """Listeners and speakers, in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: deque[asyncio.Transport] = deque()
        self._speakers: deque[_Speaker] = deque()

    def listener(self, transport: asyncio.Transport) -> None:
        self._listeners.append(transport)
        self._join()

    def speaker(self, speaker: _Speaker) -> None:
        self._speakers.append(speaker)
        self._join()

    def _join(self) -> None:
        while self._listeners and self._speakers:
            self._speakers.popleft().listener = self._listeners.popleft()


class _Listener(asyncio.Protocol):
    def __init__(self, pairs: _Pairs) -> None:
        self._pairs = pairs

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pairs.listener(cast(asyncio.Transport, transport))


class _Speaker(asyncio.Protocol):
    def __init__(self, pairs: _Pairs) -> None:
        self._pairs = pairs
        self.listener: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._pairs.speaker(self)

    def data_received(self, data: bytes) -> None:
        if self.listener:
            self.listener.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.listener:
            self.listener.abort()


async def _serve(path: str) -> None:
    loop, pairs = asyncio.get_running_loop(), _Pairs()
    await loop.create_unix_server(lambda: _Speaker(pairs), path)
    server = await loop.create_server(lambda: _Listener(pairs), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.create_future()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
