"""The gateway's side of the bridge to a cluster, where the bridge is slow or lost. Ray is played, and nothing else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.harness import eventually
from voice_server.core.settings import Resources, VenvSpec
from voice_server.pool.process import Guardian
from voice_server.pool.remote import Bridge, FarCommand, FarProcess, RayLauncher

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.timeout(60, method="thread"),  # a signal ends one send that blocks, and the next one blocks
]

LAUNCHES = 40
PACKET = {"PADDING": "x" * 16 * 1024}  # a few of them are all that a socket holds

# Its import takes until there is a file `go`; then it has no room for anybody, and says who was the how manieth.
SLOW_RAY = """
import os, socket, sys, time
from pathlib import Path
import msgpack

while not Path(__file__).with_name("go").exists():
    time.sleep(0.01)
control, number = socket.socket(fileno=int(sys.argv[1])), 0
while True:
    packet, fds, _, _ = socket.recv_fds(control, 128 * 1024, 2)
    if not packet:
        os._exit(0)
    frames, news = [socket.socket(fileno=fd) for fd in fds]
    news.send(msgpack.packb(["failed", f"{msgpack.unpackb(packet)['launch'][0]} came as number {number}"]))
    number += 1
"""


class SlowBridge:
    def __init__(self, folder: Path) -> None:
        (folder / "ray.py").write_text(SLOW_RAY)
        self._go = folder / "go"
        self.guardian = Guardian()
        self.bridge = Bridge("nowhere", self.guardian, {**os.environ, "PYTHONPATH": str(folder)})
        self._launcher = RayLauncher(self.bridge, lambda process: None)
        self.begun: list[str] = []

    def launch(self, backend: str) -> asyncio.Task[FarProcess]:
        resources = Resources()
        command = FarCommand((), PACKET, backend=backend, venv=VenvSpec(), resources=resources, gpus=0.0)
        begin = self._launcher.launch(command, print, print, lambda stage: self.begun.append(backend))
        return asyncio.create_task(begin)

    def go(self) -> None:
        self._go.touch()

    @property
    def process(self) -> psutil.Process:
        children = psutil.Process().children()
        return next(child for child in children if "voice_server.pool.cluster.bridge" in child.cmdline())

    def close(self) -> None:
        self.go()
        self.bridge.close()
        self.guardian.close()


@pytest.fixture
async def slow(no_leaks: None, tmp_path: Path) -> AsyncIterator[SlowBridge]:
    made = SlowBridge(tmp_path)
    yield made
    made.close()


async def ends(launches: list[asyncio.Task[FarProcess]]) -> list[str]:
    told = await asyncio.gather(*launches, return_exceptions=True)
    assert all(isinstance(end, OSError) for end in told), told
    return [str(end.strerror) for end in told if isinstance(end, OSError)]


async def test_who_cannot_be_sent_yet_stops_nobody_and_comes_in_its_turn(slow: SlowBridge) -> None:
    launches = [slow.launch(str(number)) for number in range(LAUNCHES)]
    await eventually(lambda: len(slow.begun) == LAUNCHES, "all of them have begun")
    slow.go()
    assert await ends(launches) == [f"{number} came as number {number}" for number in range(LAUNCHES)]


async def test_who_is_given_up_before_it_was_sent_is_not_sent_any_more(slow: SlowBridge) -> None:
    launches = [slow.launch(str(number)) for number in range(LAUNCHES)]
    await eventually(lambda: len(slow.begun) == LAUNCHES, "all of them have begun")
    *given_up, last = launches[-3:]
    for launch in given_up:
        launch.cancel()
    slow.go()
    assert await ends([last]) == [f"{LAUNCHES - 1} came as number {LAUNCHES - 3}"]
    await ends(launches[:-3])


async def test_where_it_is_lost_nobody_waits_for_ever_and_the_next_one_finds_another(slow: SlowBridge) -> None:
    launches = [slow.launch(str(number)) for number in range(LAUNCHES)]
    await eventually(lambda: len(slow.begun) == LAUNCHES, "all of them have begun")
    lost = slow.process
    lost.kill()
    slow.go()
    await ends(launches)
    await eventually(lambda: not lost.is_running() or lost.status() == psutil.STATUS_ZOMBIE, "it has ended")
    (told,) = await ends([slow.launch("the next")])
    assert told.startswith("the next came")
