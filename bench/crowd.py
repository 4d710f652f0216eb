"""Listeners on real sockets: each answer is a client of its own, all of them in this one process.

They are the load, not what is measured: a client keeps no audio, and the bench tells how much of a core they took.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import websockets

from bench.listeners import TOKEN_CHARS, Asked, Listener, Period
from voice_server.core.audio import pcm as audio

BYTES_PER_S = 48_000
CONNECT_S = 0.3  # before an answer's first token, so that the handshake is in nobody's first audio
LOOK_S = 0.1  # between two looks whether a run is over
LETTERS = "abdefiklmnoprstu"
WORD = 7  # characters with the space after it

Clock = Callable[[], float]


@dataclass(slots=True)
class Crowd:
    """All answers of one run at one server."""

    url: str
    period: Period
    begins_at: float  # on time.monotonic
    listeners: list[Listener] = field(default_factory=list)
    audio_s: float = 0.0  # that reached all clients within the measured period

    def now(self) -> float:
        return time.monotonic() - self.begins_at

    async def hear(self, answers: list[Asked]) -> None:
        """Let them come, until those that count are over or the period's patience is."""
        clients = [asyncio.create_task(self._client(answer)) for answer in answers]
        while self.now() < self.period.stops_at and not self._is_over():
            await asyncio.sleep(LOOK_S)
            for client in clients:
                if client.done():
                    client.result()  # raises what broke it: the figures would be wrong
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        for listener in self.listeners:
            listener.stop(self.now())

    def _is_over(self) -> bool:
        has_come = self.now() >= self.period.ends_at
        return has_come and all(listener.is_over for listener in self.listeners if listener.asked.counts)

    async def _client(self, answer: Asked) -> None:
        await asyncio.sleep(answer.at - CONNECT_S - self.now())
        listener = Listener(answer)
        self.listeners.append(listener)
        async with conversation(self.url, listener, self.now) as ws:
            try:
                async for message in ws:
                    self._count(message)
                    note(listener, message, self.now())
            except websockets.ConnectionClosedError:
                if not listener.is_over:  # who was refused has been told why
                    raise

    def _count(self, message: str | bytes) -> None:
        if isinstance(message, bytes) and self.period.warm_up_s <= self.now() < self.period.ends_at:
            self.audio_s += len(message) / BYTES_PER_S


@asynccontextmanager
async def conversation(url: str, listener: Listener, now: Clock) -> AsyncIterator[websockets.ClientConnection]:
    """A socket to which the answer is being said."""
    async with websockets.connect(url, compression=None, max_size=None) as ws:
        speaker = asyncio.create_task(_speak(ws, listener, now))
        try:
            yield ws
        finally:
            speaker.cancel()


async def _speak(ws: websockets.ClientConnection, listener: Listener, now: Clock) -> None:
    """Send the tokens at the model's pace."""
    answer = listener.asked
    first_left = answer.tokens_through(0)
    try:
        for number, token in enumerate(tokens(answer), 1):
            pace_s = number / answer.tokens_per_s if answer.tokens_per_s else 0.0
            await asyncio.sleep(max(0.0, answer.at + pace_s - now()))
            await ws.send(json.dumps({"token": token}))
            if number == first_left:
                listener.playhead.start(now())
        await ws.send('{"done": true}')
    except websockets.ConnectionClosed:
        pass  # it was refused, and whoever hears it was told


def note(listener: Listener, message: str | bytes, now: float) -> None:
    """What a message means to the listener."""
    if isinstance(message, bytes):
        silence = silence_s(message) if listener.onset_s is None else None
        listener.hear(len(message) / BYTES_PER_S, now, silence)
        return
    said: dict[str, Any] = json.loads(message)
    listener.was_queued |= said["type"] == "queued"
    listener.is_done |= said["type"] == "done"
    if said["type"] == "error":
        if said["code"] != "overloaded":
            raise SystemExit(f"the server says: {message}")
        listener.was_refused = True


def silence_s(pcm: bytes) -> float | None:
    """Before the first audible sample; None if there is none."""
    begin, end = audio.audible_span(pcm)
    return begin / BYTES_PER_S if end else None


def tokens(answer: Asked) -> Iterator[str]:
    """The text of an answer, which nobody has said before."""
    draw = random.Random(answer.number)
    for chars in answer.chars:
        text = _sentence(draw, chars) + " "
        yield from (text[begin : begin + TOKEN_CHARS] for begin in range(0, len(text), TOKEN_CHARS))


def _sentence(draw: random.Random, chars: int) -> str:
    letters = draw.choices(LETTERS, k=chars - 1)
    for place in range(WORD - 1, chars - WORD, WORD):  # the last word is long: no abbreviation
        letters[place] = " "
    return "".join(letters).capitalize() + "."
