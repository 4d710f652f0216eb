"""Brings one far worker what the gateway says, and the files that this names before it.

Promises: a message that names no file goes on at once, whatever else waits; of one render everything goes in its order.
A render that waits for its files shows life, is let go at once when it is cancelled, and fails alone when they cannot
be had. Knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from voice_server.core.limits import ParcelLimits
from voice_server.pool.cluster.parcels import Addresses, Offers, Parcel
from voice_server.wire.frames import encode
from voice_server.wire.messages import (
    Cancel,
    Cancelled,
    Deadline,
    Failed,
    Load,
    LoadFailed,
    Message,
    Progress,
    Render,
    Stop,
    WorkerMessage,
)

Freight = tuple[str, str, Any]  # a parcel's name on the shelf, its place in the tray, and where its content is fetched

_LOAD = -1  # goes for the id of a render


class Undelivered(Exception):
    """What has to do with the way or the node, not with the file: elsewhere it may go well."""


class _Refused(Exception):
    """A file that does not travel."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(slots=True)
class _Held:
    task: asyncio.Task[None]
    due_at: float


class Courier:
    """`send` takes frames to the worker, one call after the other; `bring` takes files to its node and raises
    Undelivered; `say` speaks to the gateway in the worker's name."""

    def __init__(
        self,
        addresses: Addresses,
        offers: Offers[Any],
        limits: ParcelLimits,
        *,
        send: Callable[[bytes], Awaitable[None]],
        bring: Callable[[Sequence[Freight]], Awaitable[None]],
        say: Callable[[WorkerMessage], None],
    ) -> None:
        self._addresses = addresses
        self._offers = offers
        self._limits = limits
        self._send, self._bring, self._say = send, bring, say
        self._sending = asyncio.Lock()  # in the order of asking
        self._held: dict[int, _Held] = {}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    async def tell(self, messages: Sequence[Message]) -> None:
        """Returns when the worker has room for more."""
        frames = b"".join(encode(message) for message in messages if self._goes_on(message))
        if frames:
            await self._pass_on(frames)

    def close(self) -> None:
        """Whatever waits is not wanted any more."""
        for held in self._held.values():
            held.task.cancel()
        self._held.clear()

    def _goes_on(self, message: Message) -> bool:
        """Whether it goes on now; else it is seen to."""
        match message:
            case Stop():
                self.close()
            case Cancel(render_id) if render_id in self._held:
                self._held.pop(render_id).task.cancel()
                self._say(Cancelled(render_id))
                return False
            case Deadline(render_id, due_in_s) if render_id in self._held:
                self._held[render_id].due_at = self._loop.time() + due_in_s
                return False
            case Load() | Render() if self._addresses.names_files(message):
                self._hold(message)
                return False
        return True

    def _hold(self, message: Load | Render) -> None:
        due_in_s = message.due_in_s if isinstance(message, Render) else 0.0
        delivery = asyncio.create_task(self._deliver(message))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)
        self._held[_key(message)] = _Held(delivery, self._loop.time() + due_in_s)

    async def _deliver(self, message: Load | Render) -> None:
        fetching = asyncio.create_task(self._fetch(message))
        try:
            await self._wait_for(fetching, message)
            addressed = fetching.result()
        except (Undelivered, _Refused) as problem:
            del self._held[_key(message)]
            self._say(_ending(message, problem))
        else:
            held = self._held.pop(_key(message))  # from now on a cancel finds the render at the worker
            if isinstance(addressed, Render):
                addressed = replace(addressed, due_in_s=held.due_at - self._loop.time())
            await self._pass_on(encode(addressed))
        finally:
            fetching.cancel()

    async def _wait_for(self, fetching: asyncio.Task[Message], message: Load | Render) -> None:
        """Raises Undelivered if it takes too long. A worker that loads has a time limit of its own."""
        if isinstance(message, Load):
            await asyncio.wait([fetching])
            return
        give_up_at = self._loop.time() + self._limits.fetch_s
        while not (await asyncio.wait([fetching], timeout=self._limits.life_s))[0]:
            if self._loop.time() >= give_up_at:
                raise Undelivered(f"its files took longer than {self._limits.fetch_s:g} s to get to the node")
            self._say(Progress(f"render {message.render_id} waits for its files"))

    async def _fetch(self, message: Load | Render) -> Message:
        offered = await asyncio.to_thread(self._offer, message)
        digests = {parcel: digest for parcel, (digest, _) in offered.items()}
        if offered:
            await self._bring([(parcel.name(digest), parcel.place, ref) for parcel, (digest, ref) in offered.items()])
        return self._addresses.addressed(message, digests)

    def _offer(self, message: Load | Render) -> dict[Parcel, tuple[str, Any]]:
        try:
            parcels = self._addresses.parcels(message)
        except OSError as problem:
            raise _Refused("bad_option", f"its files cannot be looked at: {problem.strerror}") from problem
        return {parcel: self._offer_one(parcel) for parcel in parcels}

    def _offer_one(self, parcel: Parcel) -> tuple[str, Any]:
        try:
            return self._offers.offer(parcel.source)
        except OSError as problem:
            why = f"cannot be taken to its worker ({problem.strerror}):"
            if parcel.place:
                raise _Refused("bad_option", f"{parcel.place} {why} put it right, or do without it") from problem
            raise _Refused("unknown_voice", f"the sample of this voice {why} add the voice again") from problem

    async def _pass_on(self, frames: bytes) -> None:
        async with self._sending:
            await self._send(frames)


def _key(message: Load | Render) -> int:
    return message.render_id if isinstance(message, Render) else _LOAD


def _ending(message: Load | Render, problem: Undelivered | _Refused) -> WorkerMessage:
    is_refused = isinstance(problem, _Refused)
    if isinstance(message, Load):
        return LoadFailed(str(problem), retryable=not is_refused)
    code = problem.code if isinstance(problem, _Refused) else "render_failed"
    return Failed(message.render_id, code, str(problem), retryable=not is_refused)
