"""Streams side by side in real workers: what several clients hear, and what those who have to wait are told."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import soundfile
import websockets

from tests.harness import FAST, TIMEOUT_S, RunningServer, ask, eventually, running_server, say, tone_bytes, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

LONG = "This sentence is made to be long, and it goes on about nothing at all, {} and over again, until it ends."
NAMES = ("over", "time", "once", "then")


class Client:
    """One listener. Everything it hears is also noted in `heard`, which several of them may share."""

    def __init__(self, name: str, ws: websockets.ClientConnection, heard: list[tuple[str, str]]) -> None:
        self.name = name
        self.audio = b""
        self.told: list[dict[str, Any]] = []
        self._ws = ws
        self._heard = heard
        self._reading = asyncio.create_task(self._read())

    async def say(self, *messages: dict[str, Any]) -> None:
        await say(self._ws, *messages)

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [told for told in self.told if told["type"] == kind]

    async def is_told(self, kind: str) -> dict[str, Any]:
        await eventually(lambda: bool(self.of_type(kind)), f"{self.name} is told {kind}")
        return self.of_type(kind)[0]

    async def has_audio(self) -> None:
        await eventually(lambda: bool(self.audio), f"{self.name} hears something")

    async def leave(self) -> int | None:
        """Hear all to the end; the code the connection was closed with."""
        await asyncio.wait_for(self._reading, TIMEOUT_S)
        return self._ws.close_code

    async def hang_up(self) -> None:
        await self._ws.close()
        await self._reading

    async def _read(self) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                self._note(await self._ws.recv())

    def _note(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.audio += message
            self._heard.append((self.name, "audio"))
        else:
            self.told.append(json.loads(message))
            self._heard.append((self.name, self.told[-1].get("event", self.told[-1]["type"])))


class Hall:
    """A server, and clients who come and go."""

    def __init__(self, server: RunningServer, stack: AsyncExitStack) -> None:
        self.server = server
        self.heard: list[tuple[str, str]] = []
        self._stack = stack

    async def come(self, name: str, *messages: dict[str, Any]) -> Client:
        ws = await websockets.connect(f"{self.server.ws}/stream-tokens", max_size=None)
        client = Client(name, ws, self.heard)
        self._stack.push_async_callback(client.hang_up)
        await client.say(*messages)
        return client

    async def four(self) -> list[Client]:
        """Each of them says two long sentences of its own, and has heard the beginning."""
        clients = [await self.come(name, {"token": speech(name), "done": True}) for name in NAMES]
        for client in clients:
            await client.has_audio()
        return clients

    @property
    def worker(self) -> int:
        (slot,) = self.server.backend.pool.slots
        return slot.pid


@asynccontextmanager
async def hall(python: Path, *, queue_wait_s: float = TIMEOUT_S, **options: Any) -> AsyncIterator[Hall]:
    """One worker that holds four renders open."""
    limits = replace(FAST, stream=replace(FAST.stream, queue_wait_s=queue_wait_s))
    async with running_server(tone_config(capacity=4, **options), python, limits=limits) as server:
        async with AsyncExitStack() as stack:
            yield Hall(server, stack)


def speech(name: str) -> str:
    return f"{LONG.format(name)} {LONG.format(name.upper())}"


def all_of(name: str) -> bytes:
    return tone_bytes(LONG.format(name), LONG.format(name.upper()))


async def test_a_newcomer_is_heard_while_long_sentences_are_rendered(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.1) as scene:
        first = await scene.come("first", {"token": LONG.format("over"), "done": True})
        second = await scene.come("second", {"token": LONG.format("time"), "done": True})
        third = await scene.come("third", {"token": LONG.format("once"), "done": True})
        for client in (first, second, third):
            await client.has_audio()
        newcomer = await scene.come("newcomer", {"token": "Hello there.", "done": True})
        await newcomer.leave()
        ended_before = {
            name for name, event in scene.heard[: scene.heard.index(("newcomer", "audio"))] if event == "end"
        }
        assert ended_before == set()
        assert newcomer.audio == tone_bytes("Hello there.")


async def test_four_streams_in_one_worker_do_not_mix_their_audio(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.05) as scene:
        clients = await scene.four()
        assert [await client.leave() for client in clients] == [1000] * 4
        assert {client.name: client.audio for client in clients} == {name: all_of(name) for name in NAMES}
        turns = [name for name, event in scene.heard if event == "audio"]
        assert sum(one != other for one, other in pairwise(turns)) > len(NAMES)


async def test_four_open_streams_are_heard_whole_though_their_worker_is_killed(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.05) as scene:
        clients = await scene.four()
        os.kill(scene.worker, signal.SIGKILL)
        for client in clients:
            await client.leave()
        assert {client.name: client.audio for client in clients} == {name: all_of(name) for name in NAMES}
        resumed = [told for client in clients for told in client.of_type("resumed")]
        assert resumed
        assert all(told["exact"] for told in resumed)


async def test_a_worker_that_finds_less_memory_is_given_less_from_then_on(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.05, fault="shrink@1:2") as scene:
        first = await scene.come("first", {"token": LONG.format("over"), "done": True})
        await first.leave()
        clients = [await scene.come(name, {"token": speech(name), "done": True}) for name in NAMES]
        hearing = asyncio.gather(*(client.leave() for client in clients))
        seen = set()
        while not hearing.done():
            (worker,) = scene.server.backend.pool.dispatcher.snapshot().workers
            seen.add((worker.capacity, len(worker.open)))
            await asyncio.sleep(0.01)
        assert (2, 2) in seen and seen <= {(2, 0), (2, 1), (2, 2)}
        assert {client.name: client.audio for client in clients} == {name: all_of(name) for name in NAMES}


async def test_a_barge_in_leaves_the_others_whole(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.05) as scene:
        loud, *others = await scene.four()
        await loud.say({"cancel": True, "token": "Never mind.", "done": True})
        await loud.leave()
        for client in others:
            await client.leave()
        assert {client.name: client.audio for client in others} == {name: all_of(name) for name in NAMES[1:]}
        assert loud.audio.endswith(tone_bytes("Never mind."))
        assert len(loud.audio) < len(all_of(loud.name))


async def test_a_whole_file_is_rendered_during_live_streams(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.05) as scene:
        clients = await scene.four()
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            response = await http.post(f"{scene.server.http}/tts", json={"text": speech("file")})
        assert response.status_code == 200
        samples, _ = soundfile.read(io.BytesIO(response.content), dtype="int16")
        assert samples.tobytes() == all_of("file")
        for client in clients:
            await client.leave()
        assert {client.name: client.audio for client in clients} == {name: all_of(name) for name in NAMES}


async def two_listeners(scene: Hall) -> list[Client]:
    """They have come to a worker that was measured to make two seconds of audio in a second: enough for one of them."""
    await ask(scene.server.ws, {"token": "So that it is measured.", "done": True})
    listeners = [await scene.come(name, {"token": f"{speech(name)} {speech(name)}"}) for name in NAMES[:2]]
    await listeners[0].has_audio()
    return listeners


async def test_who_would_make_others_stutter_is_told_to_wait_and_speaks_when_they_have_gone(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.5) as scene:
        listeners = await two_listeners(scene)
        third = await scene.come("third", {"token": "Hello there.", "done": True})
        queued = await third.is_told("queued")
        assert queued["reason"] == "busy"
        assert queued["position"] >= 1
        assert queued["eta_ms"] > 0
        assert third.audio == b""
        for listener in listeners:
            await listener.hang_up()
        await third.leave()
        assert third.audio == tone_bytes("Hello there.")


async def test_who_has_waited_too_long_is_refused(tone_python: Path) -> None:
    async with hall(tone_python, speed_rtf=0.5, queue_wait_s=0.5) as scene:
        first, *_ = await two_listeners(scene)
        third = await scene.come("third", {"token": speech("then"), "done": True})
        assert await third.leave() == 1013
        assert [error["code"] for error in third.of_type("error")] == ["overloaded"]
        assert third.of_type("queued")
        assert third.audio == b""
        assert first.of_type("error") == []
