from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import eventually
from voice_server.core.doors.limits import PortLimits
from voice_server.ports.stdio import NotPipes, Pipes

pytestmark = pytest.mark.anyio

LIMITS = PortLimits(packet_bytes=1000, waiting_bytes=2000, unread_bytes=200_000, farewell_s=0.1)
ROOT = Path(__file__).parents[2]


@dataclass
class Peer:
    pipes: Pipes
    read_fd: int
    write_fd: int

    def hang_up(self) -> None:
        for fd in (self.read_fd, self.write_fd):
            with suppress(OSError):
                os.close(fd)


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    (their_read, our_write), (our_read, their_write) = os.pipe(), os.pipe()
    peer = Peer(Pipes(LIMITS, counts_itself=False), their_read, their_write)
    await peer.pipes.open(our_read, our_write)
    yield peer
    await peer.pipes.close()
    peer.hang_up()
    await asyncio.sleep(0)


def read_count(fd: int, count: int) -> bytes:
    """So many bytes, or all there are until the end."""
    data = b""
    while len(data) < count and (piece := os.read(fd, min(65536, count - len(data)))):
        data += piece
    return data


def read_all(fd: int) -> bytes:
    return read_count(fd, 2**31)


async def test_packets_go_both_ways(peer: Peer) -> None:
    os.write(peer.write_fd, b"\0\0\0\2hi\0\0\0\0")
    assert [await peer.pipes.receive(), await peer.pipes.receive()] == [b"hi", b""]
    peer.pipes.send(b"ho")
    assert os.read(peer.read_fd, 100) == b"\0\0\0\2ho"


async def test_the_end_is_noticed_while_nobody_reads(peer: Peer) -> None:
    os.write(peer.write_fd, b"\0\0\0\2hi")
    os.close(peer.write_fd)
    await eventually(peer.pipes.over.is_set, "it is over")
    assert peer.pipes.problem is None
    assert await peer.pipes.receive() == b"hi"


async def test_who_does_not_listen_any_more_is_gone(peer: Peer) -> None:
    os.close(peer.read_fd)
    await eventually(peer.pipes.over.is_set, "it is over")
    peer.pipes.send(b"to nobody")


async def test_a_bad_packet_ends_it_with_its_problem(peer: Peer) -> None:
    os.write(peer.write_fd, b"\0\0\0\2hi\xff\xff\xff\xff")
    await eventually(peer.pipes.over.is_set, "it is over")
    assert "4294967295" in str(peer.pipes.problem)
    assert await peer.pipes.receive() == b"hi"


async def test_who_never_reads_is_given_up_before_memory_is(peer: Peer) -> None:
    for _ in range(20):
        peer.pipes.send(bytes(50_000))
    assert peer.pipes.over.is_set()
    heard = asyncio.create_task(asyncio.to_thread(read_all, peer.read_fd))
    await peer.pipes.close()
    assert len(await heard) in (5 * 50_004, 6 * 50_004)  # what may wait, the one too much, and what the pipe holds


async def test_a_packet_larger_than_all_that_may_wait_is_taken_by_who_reads(peer: Peer) -> None:
    peer.pipes.send(bytes(1_000_000))
    waiting = asyncio.create_task(peer.pipes.drain())
    heard = await asyncio.to_thread(read_count, peer.read_fd, 1_000_004)
    assert heard == b"\0\x0f\x42\x40" + bytes(1_000_000)
    await waiting
    peer.pipes.send(b"ho")
    assert await asyncio.to_thread(read_count, peer.read_fd, 6) == b"\0\0\0\2ho"
    assert not peer.pipes.over.is_set()


async def test_who_writes_waits_for_who_reads(peer: Peer) -> None:
    peer.pipes.send(bytes(190_000))
    waiting = asyncio.create_task(peer.pipes.drain())
    await asyncio.sleep(0)
    assert not waiting.done()
    os.set_blocking(peer.read_fd, False)
    while not waiting.done():
        with suppress(BlockingIOError):
            os.read(peer.read_fd, 65536)
        await asyncio.sleep(0)
    assert not peer.pipes.over.is_set()


async def test_a_peer_that_says_more_than_is_taken_waits(peer: Peer) -> None:
    os.set_blocking(peer.write_fd, False)
    told = b"\0\0\3\xe8" + bytes(1000)
    sent = 0

    async def fill() -> None:
        nonlocal sent
        with suppress(BlockingIOError):
            while sent < 2_000_000:
                sent += os.write(peer.write_fd, told)
                await asyncio.sleep(0)

    await fill()
    assert sent < 1_000_000  # what we hold, and what the pipe holds
    for _ in range(sent // len(told)):
        assert len(await peer.pipes.receive()) == 1000
    before = sent
    await fill()
    assert sent > before


async def test_files_are_no_pipes(tmp_path: Path) -> None:
    read_fd, write_fd = os.pipe()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    with pytest.raises(NotPipes):
        await Pipes(LIMITS, counts_itself=False).open(read_fd, file)
    os.close(write_fd)


def test_what_prints_does_not_reach_the_pipes() -> None:
    script = """
import os, subprocess, sys
from voice_server.ports.stdio import claim_stdio
read_fd, write_fd = claim_stdio()
print("printed", flush=True)
os.write(1, b"written\\n")
subprocess.run(["echo", "by a child"])
assert sys.stdin.read() == "" and subprocess.run(["cat"], capture_output=True).stdout == b""
os.write(write_fd, os.read(read_fd, 100))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, input=b"packet", capture_output=True, check=True)
    assert done.stdout == b"packet"
    assert done.stderr == b"printed\nwritten\nby a child\n"
