"""The gateway's way into a Ray cluster, a process of its own: `python -m voice_server.pool.cluster.bridge FD ADDRESS`.

Ray ends the process that drives it when the head or the node beside it is lost for long, and takes its signals: a
gateway that did not stand apart would go down with its cluster. It gets one packet for each worker that is to live,
with two sockets, and carries what goes through them, and the files that this names; it ends with the gateway, and its
actors with it.

    frames   a stream, the other end of the worker's connection
    news     packets. To the gateway: ["stage", words] of the launch, ["pid", pid, host] or ["failed", words] at its
             end, ["log", bytes] ["exit", code, words], ["leaving"] while its node is to go; the end
             of the socket is the end of the bridge. To us: ["kill"] ["dump"]; its end gives the worker up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from voice_server.core.limits import ClusterLimits, ParcelLimits
from voice_server.pool.cluster.courier import Courier, Freight, Undelivered
from voice_server.pool.cluster.far import Far
from voice_server.pool.cluster.membership import CannotJoin, Cluster, node_of
from voice_server.pool.cluster.parcels import Addresses, Landing, Offers
from voice_server.pool.cluster.upward import Upward
from voice_server.wire.frames import FrameDecoder

_READ_BYTES = 64 * 1024
_PACKET_BYTES = 128 * 1024
_LOG_BYTES = 32 * 1024  # of a packet of news
_EXIT_FOLLOWS_S = 1.0  # between a kill, or the end of the frames, and the exit that explains it
_LIMITS = ParcelLimits()
_CLUSTER_LIMITS = ClusterLimits()
_LOST = (RayError, ConnectionError)  # the latter is what Ray's client says of its head


async def run(fd: int, address: str) -> None:
    """Serve the gateway at the socket `fd` until it leaves."""
    cluster = Cluster(address, _CLUSTER_LIMITS)
    control = socket.socket(fileno=fd)
    control.setblocking(False)
    offers, crossings = Offers(_put, _LIMITS), dict[asyncio.Task[None], _Crossing]()
    looking = asyncio.create_task(_forget_the_vanished(offers, crossings))
    watching = asyncio.create_task(_tell_who_leaves(cluster, crossings))
    while packet := await _next_packet(control):
        told, (frames, news) = packet
        crossing = _Crossing(frames, news, offers, cluster)
        running = asyncio.create_task(crossing.run(**told))
        crossings[running] = crossing
        running.add_done_callback(crossings.pop)
    looking.cancel()
    watching.cancel()


def _put(content: bytes) -> Any:
    try:
        return ray.put(content)
    except RayError as error:
        raise Undelivered(f"the cluster takes no file: {error}") from error


async def _forget_the_vanished(offers: Offers[Any], crossings: Mapping[Any, _Crossing]) -> None:
    """A recording that is taken away here is nobody's voice there any more."""
    while True:
        await asyncio.sleep(_LIMITS.look_s)
        if digests := await asyncio.to_thread(offers.vanished):
            for crossing in crossings.values():
                crossing.forget(digests)


async def _tell_who_leaves(cluster: Cluster, crossings: Mapping[Any, _Crossing]) -> None:
    """Until it has left."""
    while True:
        await asyncio.sleep(_CLUSTER_LIMITS.look_s)
        leaving = await cluster.leaving()
        for crossing in [crossing for crossing in crossings.values() if crossing.node in leaving]:
            await crossing.tell("leaving")


async def _next_packet(control: socket.socket) -> tuple[dict[str, Any], list[socket.socket]] | None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(control, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(control)
    data, fds, _, _ = socket.recv_fds(control, _PACKET_BYTES, 2)
    return (msgpack.unpackb(data), [socket.socket(fileno=fd) for fd in fds]) if data else None


class _Crossing:
    """One worker: its actor, and the four streams between it and the gateway."""

    def __init__(self, frames: socket.socket, news: socket.socket, offers: Offers[Any], cluster: Cluster) -> None:
        self._frames, self._news = frames, news
        self._offers = offers
        self._loop = asyncio.get_running_loop()
        self._telling = asyncio.Lock()
        self._cluster = cluster
        self._actor: Any = None
        self.node = ""  # on which it lives
        for sock in (frames, news):
            sock.setblocking(False)

    async def run(self, launch: list[Any], room: dict[str, Any], base: str) -> None:
        orders = asyncio.create_task(self._obey())
        life = asyncio.create_task(self._live(launch, room, Path(base)))
        try:
            await asyncio.wait([orders, life], return_when=asyncio.FIRST_COMPLETED)
            _, missing = await asyncio.wait([life], timeout=_EXIT_FOLLOWS_S)
            if missing:
                await self.tell("exit", 0, "was given up: its node did not answer")
        finally:
            for task in (orders, life):
                task.cancel()
            await asyncio.gather(orders, life, return_exceptions=True)
            with contextlib.suppress(*_LOST):
                if self._actor:
                    ray.kill(self._actor)
            self._frames.close()
            self._news.close()

    def forget(self, digests: list[str]) -> None:
        if self._actor:
            self._actor.forget.remote(digests)

    async def _live(self, launch: list[Any], room: dict[str, Any], base: Path) -> None:
        if not await self._board(room):
            return
        life = asyncio.create_task(self._follow())
        pumps: list[asyncio.Task[None]] = []
        try:
            pid, host, *landing = await self._actor.launch.remote(*launch)
            await self.tell("pid", pid, host)
            self.node = "" if self._cluster.is_client else await node_of(self._actor)
            upward = Upward(partial(self._loop.sock_sendall, self._frames))
            courier = self._courier(Addresses(base, Landing(*landing), _LIMITS), upward)
            pumps += [asyncio.create_task(pump) for pump in (self._up(upward), self._down(courier))]
            code = await life
            await asyncio.wait(pumps[:1], timeout=_EXIT_FOLLOWS_S)  # all of its frames are told before its end
            await self.tell("exit", code, "")
        except _LOST as error:
            await self.tell(*(("exit", 0) if pumps else ("failed",)), _words(error))
        finally:
            for task in (life, *pumps):
                task.cancel()
            await asyncio.gather(life, *pumps, return_exceptions=True)

    async def _board(self, room: dict[str, Any]) -> bool:
        """Have an actor on the cluster, or tell why there is none. Waits for a head that cannot be reached."""
        try:
            await self._cluster.reached(partial(self.tell, "stage"))
            self._cluster.join()
        except CannotJoin as problem:
            await self.tell("failed", str(problem))
            return False
        self._actor = ray.remote(Far).options(max_restarts=0, max_task_retries=0, **room).remote()
        return True

    async def _follow(self) -> int:
        """Tell how its launch gets on and what it prints, until it has ended. Its return code."""
        code = None
        while code is None:
            stage, log, code = await self._actor.news.remote()
            if stage:
                await self.tell("stage", stage)
            for start in range(0, len(log), _LOG_BYTES):
                await self.tell("log", log[start : start + _LOG_BYTES])
        return int(code)

    async def _up(self, upward: Upward) -> None:
        """One piece is under way at a time: who does not read stops the worker, as at home."""
        while data := await self._actor.read.remote():
            await upward.carry(data)

    async def _down(self, courier: Courier) -> None:
        decoder = FrameDecoder()
        try:
            while data := await self._loop.sock_recv(self._frames, _READ_BYTES):
                await courier.tell(decoder.feed(data))
        finally:
            courier.close()

    def _courier(self, addresses: Addresses, upward: Upward) -> Courier:
        return Courier(addresses, self._offers, _LIMITS, send=self._write, bring=self._bring, say=upward.say)

    async def _write(self, frames: bytes) -> None:
        with contextlib.suppress(*_LOST):  # its end is told elsewhere
            await self._actor.write.remote(frames)

    async def _bring(self, freight: Sequence[Freight]) -> None:
        try:
            await self._actor.bring.remote(freight)
        except _LOST as error:
            raise Undelivered(f"its files did not get to the node: {_words(error)}") from error

    async def _obey(self) -> None:
        """Returns when the worker is to be no more."""
        while packet := await self._loop.sock_recv(self._news, _PACKET_BYTES):
            (order,) = msgpack.unpackb(packet)
            if order == "kill":
                if self._actor:
                    self._actor.kill.remote()
                return
            if self._actor:
                self._actor.dump_stack.remote()

    async def tell(self, *news: Any) -> None:
        async with self._telling:
            with contextlib.suppress(OSError):  # the gateway has given it up
                await self._loop.sock_sendall(self._news, msgpack.packb(news))


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionError):
        return "was lost with the way to its cluster"
    if isinstance(error, RayTaskError):
        return str(error.cause)
    if isinstance(error, RayActorError) and "node has died" in str(error):
        return "was lost with its node"
    return "was lost with the process that kept it"


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), sys.argv[2]))
    os._exit(0)  # Ray's own way out may wait for a head that is gone; the cluster sees the end of the process
