"""Workers on other machines: launched through a bridge to a Ray cluster, they look like processes of this one.

Promises: their frames travel on a local socket whose other end is held by the bridge, so that channel, worker and
supervisor are those of every worker. A worker, an actor, a node, a head or a bridge that is lost is the exit of its
process, with a reason in words. Ray itself is never imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgpack

from voice_server.core.settings import Resources, VenvSpec
from voice_server.pool.launcher import Process
from voice_server.pool.process import Command, Exit, Guardian, inherited

_ROOT = Path(__file__).resolve().parents[2]
_PACKET_BYTES = 128 * 1024
# Of who drives it from below `uv run` Ray would send the whole folder it is in to the nodes (2.60, seen).
_NO_UV = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
_NO_BRIDGE = "lost its way: the bridge to the cluster has ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class FarCommand(Command):
    """What a node needs to start a worker. `argv` is a script of our package, and what it is to be told."""

    backend: str
    venv: VenvSpec
    resources: Resources
    gpus: float

    @property
    def packet(self) -> dict[str, Any]:
        """For the bridge."""
        venv = asdict(self.venv) | {"path": str(self.venv.path) if self.venv.path else None}
        launch, room = [self.backend, venv, self.argv, self.env], _room(self.resources, self.gpus)
        return {"launch": launch, "room": room, "base": os.getcwd()}

    @property
    def wants(self) -> str:
        """In words, what a node must have free for it."""
        asked = self.resources
        counted = {"GPU": self.gpus, "CPU": asked.cpus}
        words = [f"{number:g} {name}{'s' if number > 1 else ''}" for name, number in counted.items() if number]
        memory = [f"{asked.memory_gib:g} GiB"] if asked.memory_gib else []
        return ", ".join([*words, *memory, *(f"{number:g} {name}" for name, number in asked.custom.items())])


def _room(resources: Resources, gpus: float) -> dict[str, Any]:
    """As Ray names it."""
    strategy = "SPREAD" if resources.nodes == "spread" else "DEFAULT"
    memory = {"memory": int(resources.memory_gib * 2**30)} if resources.memory_gib else {}
    named = {"num_cpus": resources.cpus, "num_gpus": gpus, "resources": resources.custom}
    return {**named, **memory, "scheduling_strategy": strategy}


class Bridge:
    """The process that drives the cluster at `address`. It ends with us; one that was lost is replaced when needed."""

    def __init__(self, address: str, guardian: Guardian, environ: Mapping[str, str]) -> None:
        self._address = address
        self._guardian = guardian
        self._env = bridge_environ(environ)
        self._turn = asyncio.Lock()  # of who sends: in order, and not while it is being replaced
        self._open()

    def _open(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "voice_server.pool.cluster.bridge", str(theirs.fileno()), self._address],
                env=self._env,
                cwd="/",  # Ray puts the folder of its driver before the code that travels
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is not meant for it
            )
        self._guardian.watch(self._process.pid)

    async def send(self, packet: bytes, frames: socket.socket, news: socket.socket) -> None:
        """Waits where it is behind: it reads nothing while it imports Ray. Raises OSError when it is about to end."""
        async with self._turn:
            if self._process.poll() is not None:
                self.close()
                self._open()
            while not self._has_taken(packet, frames, news):
                await self._room()

    def _has_taken(self, packet: bytes, frames: socket.socket, news: socket.socket) -> bool:
        try:
            socket.send_fds(self._control, [packet], [frames.fileno(), news.fileno()])
        except BlockingIOError:
            return False
        return True

    async def _room(self) -> None:
        """Returns when it may take another packet, or has ended."""
        loop, writable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self._control, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._control)

    def close(self) -> None:
        """Blocks for a moment. Its workers are stopped before."""
        self._control.close()
        try:
            self._process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._guardian.release(self._process.pid)


def has_ray() -> bool:
    """Whether a bridge can be built here: without importing it."""
    return importlib.util.find_spec("ray") is not None


def bridge_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What the bridge may see of our environment: where Ray and we are found, and none of our secrets."""
    of_ray = {key: value for key, value in environ.items() if key.startswith("RAY_")}
    path = os.pathsep.join(filter(None, [str(_ROOT), environ.get("PYTHONPATH")]))
    return {**inherited(environ), **of_ray, **_NO_UV, "PYTHONPATH": path}


class RayLauncher:
    """Launches what a `FarCommand` says. `on_leaving` is told, again and again, whose node is to go."""

    def __init__(self, bridge: Bridge, on_leaving: Callable[[Process], None]) -> None:
        self._bridge = bridge
        self._on_leaving = on_leaving

    async def launch(
        self,
        command: Command,
        on_log: Callable[[bytes], None],
        on_exit: Callable[[Exit], None],
        on_stage: Callable[[str], None],
    ) -> FarProcess:
        """Waits for a node that has room, and for the environment there. Raises OSError that says what was missing."""
        assert isinstance(command, FarCommand), "a pool is given commands that its launcher knows"
        on_stage(f"waits for a node with room: {command.wants}")
        ours, frames = socket.socketpair()
        our_news, news = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = FarProcess(ours, our_news, on_log, on_exit, on_stage, self._on_leaving)
        try:
            with frames, news:
                await self._bridge.send(msgpack.packb(command.packet), frames, news)
            await process.born
        except BaseException:
            process.give_up()
            raise
        return process


class FarProcess:
    """A process that the bridge tells us about."""

    def __init__(
        self,
        sock: socket.socket,
        news: socket.socket,
        on_log: Callable[[bytes], None],
        on_exit: Callable[[Exit], None],
        on_stage: Callable[[str], None],
        on_leaving: Callable[[Process], None],
    ) -> None:
        self.socket = sock
        self.pid = 0
        self.host = ""
        self._loop = asyncio.get_running_loop()
        self.born: asyncio.Future[None] = self._loop.create_future()
        self._news = news
        self._on_log = on_log
        self._on_exit = on_exit
        self._on_stage = on_stage
        self._on_leaving = on_leaving
        news.setblocking(False)
        self._loop.add_reader(news, self._hear)

    def kill(self) -> None:
        self._order("kill")

    def dump_stack(self) -> None:
        self._order("dump")

    def give_up(self) -> None:
        """Nobody is to be told of it any more; the bridge ends it."""
        self._hang_up()
        self.socket.close()

    def _order(self, order: str) -> None:
        with contextlib.suppress(OSError):  # it has ended, or is about to
            self._news.send(msgpack.packb([order]))

    def _hear(self) -> None:
        try:
            packet = self._news.recv(_PACKET_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        news: list[Any] = msgpack.unpackb(packet) if packet else ["exit", 0, _NO_BRIDGE]
        kind, *told = news
        match kind:
            case "log":
                self._on_log(told[0])
            case "stage":
                if not self.born.done():  # else it has said more itself
                    self._on_stage(told[0])
            case "leaving":
                self._on_leaving(self)
            case "pid":
                self.pid, self.host = told
                self.born.set_result(None)
            case _:
                self._end(Exit(told[0], told[1]) if kind == "exit" else Exit(lost=told[0]))

    def _end(self, exit: Exit) -> None:
        self._hang_up()
        if self.born.done():
            self._on_exit(exit)
        else:
            self.born.set_exception(OSError(errno.EHOSTDOWN, exit.reason))

    def _hang_up(self) -> None:
        if self._news.fileno() >= 0:
            self._loop.remove_reader(self._news)
            self._news.close()
