"""The far end of a worker that lives on another machine: the same process as at home, and calls that pass its bytes on.

Runs in an actor on that machine, on the code of the gateway, which travels there. Nothing here knows of the cluster:
who calls is the bridge. What nobody has fetched yet is bounded: frames wait in the worker's socket, of its log
the end is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any

from voice_server.core.limits import ParcelLimits
from voice_server.core.settings import VenvSpec
from voice_server.pool.cluster.depot import Depot
from voice_server.pool.process import Command, Exit, Guardian, WorkerProcess, inherited
from voice_server.venvs import VenvStore, default_home

_PACKAGE = Path(__file__).resolve().parents[2]
_READ_BYTES = 64 * 1024  # less than what Ray would put into its object store, at the price of two more copies
_LOG_BYTES = 256 * 1024
_STAGE_CHARS = 300  # as much as a worker tells of its loading


class Far:
    """One worker. `launch` comes first and once; `read` and `news` are each asked again and again, by one caller."""

    def __init__(self) -> None:
        self._guardian = Guardian()
        self._log = bytearray()
        self._stage = ""  # of the launch, where it is news
        self._exit: Exit | None = None
        self._told = asyncio.Event()
        self._process: WorkerProcess | None = None
        self._depot: Depot | None = None

    async def launch(
        self, backend: str, venv: Mapping[str, Any], script: Sequence[str], env: Mapping[str, str]
    ) -> tuple[int, str, str, str]:
        """Start `script`, whose file lies in our package, with the python of the backend's environment.

        Its pid, the name of this machine, and where its parcels are: the shelf and the tray. Raises VenvBuildFailed, or
        OSError when there is nothing to execute or no room on the disk.
        """
        loop = asyncio.get_running_loop()
        self._on_stage(f"starts on {socket.gethostname()}")

        def report(line: str) -> None:
            loop.call_soon_threadsafe(self._on_build, line)

        python = await asyncio.to_thread(VenvStore().build, backend, VenvSpec(**venv), report)
        self._depot = depot = await asyncio.to_thread(Depot, default_home(os.environ).absolute(), ParcelLimits())
        argv = (str(python), "-I", str(_PACKAGE / script[0]), *script[1:])
        command = Command(argv, worker_environ(os.environ) | dict(env))
        self._process = await self._guardian.launch(command, self._on_log, self._on_exit, self._on_stage)
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._process.socket, limit=_READ_BYTES)
        return self._process.pid, socket.gethostname(), depot.landing.shelf, depot.landing.tray

    async def bring(self, parcels: Sequence[tuple[str, str, Awaitable[bytes]]]) -> None:
        """Have these on the shelf and in the tray: the name of each, its place, and its content. Raises OSError."""
        assert self._depot is not None
        await asyncio.gather(*(self._depot.bring(*parcel) for parcel in parcels))

    async def forget(self, digests: Sequence[str]) -> None:
        if self._depot:
            await asyncio.to_thread(self._depot.forget, digests)

    async def read(self) -> bytes:
        """What the worker has said, as soon as there is something; b"" at its end."""
        try:
            return await self._reader.read(_READ_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        """Returns when the worker has room for more."""
        with contextlib.suppress(ConnectionError):  # its end is told elsewhere
            self._writer.write(data)
            await self._writer.drain()

    async def news(self) -> tuple[str, bytes, int | None]:
        """What its launch is at, what it has printed, and its return code at its end; as soon as there is any."""
        await self._told.wait()
        self._told.clear()
        stage, log = self._stage, bytes(self._log)
        self._stage = ""
        self._log.clear()
        return stage, log, self._exit.returncode if self._exit else None

    async def kill(self) -> None:
        if self._process:
            self._process.kill()

    async def dump_stack(self) -> None:
        if self._process:
            self._process.dump_stack()

    def _on_build(self, line: str) -> None:
        self._on_stage(f"builds its environment on {socket.gethostname()}: {line}")
        self._on_log(f"{line}\n".encode())

    def _on_stage(self, words: str) -> None:
        self._stage = words[:_STAGE_CHARS]
        self._told.set()

    def _on_log(self, data: bytes) -> None:
        self._log += data
        del self._log[:-_LOG_BYTES]
        self._told.set()

    def _on_exit(self, exit: Exit) -> None:
        self._exit = exit
        if self._depot:
            self._depot.close()
        self._told.set()


def worker_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What this machine gives a worker: no secrets, no path to our packages, and the GPUs that the cluster chose."""
    gpus = environ.get("CUDA_VISIBLE_DEVICES", "")
    cache = str(default_home(environ).absolute())
    return {**inherited(environ), "CUDA_VISIBLE_DEVICES": gpus, "VOICE_SERVER_CACHE": cache}
