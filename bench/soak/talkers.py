"""Honest clients of `/stream-tokens`: they talk all the time, in every way the door allows, and check each byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import websockets

from bench.soak.answers import Answer, Ear, Heard, judge
from bench.soak.roamers import Roamer
from bench.soak.texts import NATIVE, Manner, long_text, sentences, some_manner, tokens

DOOR = "WS /stream-tokens"
ROAMING_DOOR = "WS /stream-tokens?resume=1, lines that break"
PATIENCE_S = 120.0  # for one answer; the gateway's own patience with a worker and with the line is much shorter
_RATE_MAX = NATIVE  # of who comes back: the server keeps a MiB, and at higher rates more than that may be on its way
_NO_MORE_S = 1.0  # without a message: all that was said is spoken

Socket = websockets.ClientConnection | Roamer


@asynccontextmanager
async def opened(port: int, address: str, dice: random.Random, *, roams: bool) -> AsyncIterator[Socket]:
    """A socket of a client with an address of its own: limits are counted by address."""

    async def connect(query: str) -> websockets.ClientConnection:
        url = f"ws://127.0.0.1:{port}/stream-tokens?{query}"
        return await websockets.connect(url, local_addr=(address, 0), compression=None, max_size=None)

    ws = Roamer(connect, dice) if roams else await connect("keep_open=1")
    await (ws.open() if isinstance(ws, Roamer) else ws.recv())
    try:
        yield ws
    finally:
        await ws.close()


async def converse(port: int, address: str, dice: random.Random, *, roams: bool) -> list[Answer]:
    """A few answers on one socket, some of them interrupted. It ends early with one that closed the socket."""
    answers: list[Answer] = []
    manner = Manner()
    async with opened(port, address, dice, roams=roams) as ws:
        for _ in range(dice.randint(1, 4)):
            manner = await change_manner(ws, manner, some_manner(dice, _RATE_MAX if roams else None))
            talk = interrupt if dice.random() < 0.25 else answer
            answers.append(await talk(ws, dice, manner))
            if ws.close_code is not None or answers[-1].wrong:
                break
    if isinstance(ws, Roamer):
        return [replace(one, door=ROAMING_DOOR, returns=ws.returns * (one is answers[-1])) for one in answers]
    return answers


async def change_manner(ws: Socket, old: Manner, new: Manner) -> Manner:
    rate: int | str = "native" if new.rate == NATIVE else new.rate
    await _say(ws, voice=new.voice, opts={"speed": new.speed})
    if new.rate != old.rate:
        await _say(ws, sample_rate=rate)
        while json.loads(await asyncio.wait_for(ws.recv(), PATIENCE_S))["type"] != "format":
            pass
    return new


async def answer(ws: Socket, dice: random.Random, manner: Manner) -> Answer:
    """One whole answer."""
    text = long_text(dice) if dice.random() < 0.05 else " ".join(sentences(dice))
    listener = Listener(ws, manner)
    speaking = asyncio.create_task(_speak(ws, dice, text, is_done=True))
    return await listener.listen(text, speaking)


async def interrupt(ws: Socket, dice: random.Random, manner: Manner) -> Answer:
    """One that is cancelled somewhere: before its first byte, in its middle, or when all of it was sent."""
    text = " ".join(sentences(dice))
    listener = Listener(ws, manner, cancel_after=dice.choice([0, 1, 5, 20]))
    return await listener.listen(text, asyncio.create_task(_speak(ws, dice, text, is_done=False)))


class Listener:
    def __init__(self, ws: Socket, manner: Manner, cancel_after: int | None = None) -> None:
        self._ws = ws
        self._manner = manner
        self._cancel_after = cancel_after  # messages
        self._heard = Heard()
        self._ear = Ear(manner.rate)
        self._accepted_at: float | None = None
        self._first_audio_s: float | None = None

    async def listen(self, text: str, speaking: asyncio.Task[None]) -> Answer:
        try:
            await asyncio.wait_for(self._hear(speaking), PATIENCE_S)
        except asyncio.TimeoutError:
            return Answer(DOOR, "", f"did not end within {PATIENCE_S:g} s")
        except websockets.ConnectionClosed:
            self._heard.close_code = self._ws.close_code
        finally:
            speaking.cancel()
            await asyncio.wait([speaking])
        outcome, wrong = judge(self._heard, text, self._manner.owed)
        return Answer(DOOR, outcome, wrong, self._first_audio_s, self._ear.gap_s)

    async def _hear(self, speaking: asyncio.Task[None]) -> None:
        last = "done"
        if self._cancel_after is not None:
            await self._hear_some(self._cancel_after)
            await asyncio.wait([speaking])
            await _say(self._ws, cancel=True)
            last = "cancelled"
        while self._take(await self._ws.recv()) != last:
            pass

    async def _hear_some(self, messages: int) -> None:
        """Fewer if there are no more."""
        with contextlib.suppress(asyncio.TimeoutError):
            for _ in range(messages):
                self._take(await asyncio.wait_for(self._ws.recv(), _NO_MORE_S))

    def _take(self, message: str | bytes) -> str:
        """The type of the message; "" of audio."""
        self._time(message)
        return str(self._heard.take(message).get("type", ""))

    def _time(self, message: str | bytes) -> None:
        now = time.monotonic()
        if isinstance(message, bytes):
            self._ear.hear(len(message), now)
            if self._first_audio_s is None and self._accepted_at is not None:
                self._first_audio_s = now - self._accepted_at
        elif self._accepted_at is None and '"accepted"' in message:
            self._accepted_at = now


async def _speak(ws: Socket, dice: random.Random, text: str, *, is_done: bool) -> None:
    """At the pace of a fast model: bursts of tokens."""
    for token in tokens(dice, text):
        await _say(ws, token=token)
        if dice.random() < 0.1:
            await asyncio.sleep(dice.random() * 0.1)
    if is_done:
        await _say(ws, done=True)
    elif dice.random() < 0.5:
        await _say(ws, flush=True)


async def _say(ws: Socket, **message: object) -> None:
    """On a socket that the server has closed it is lost; what the server said before is still to be read."""
    with contextlib.suppress(websockets.ConnectionClosed):
        await ws.send(json.dumps(message))
