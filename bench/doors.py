"""What each door adds to the first audio, and whether all of them hold when they are used at once.

    uv run --extra av python -m bench.doors [--rounds 40] [--clients 32]

The engine is the tone backend on an idle server. The clock runs from the text on an open connection to the first bytes
from which a decoder makes samples; `/stream-tokens` is the yardstick, measured in the same rounds as all others. Then
many clients of all doors speak at once, each another text: raw audio must be what the engine owes, byte by byte, and
compressed audio must be as long and sound like it. A door that this server does not have is left out, and said so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import numpy as np

from bench.clients import DOORS, Absent, Door
from bench.gateway import Gateway, free_port, machine, serving
from bench.sounds import RATE, decode, likeness, owed

TEXT = "Hello there, this is the first sentence."
PAUSE_S = 0.01  # between two rounds, so that each one finds an idle gateway
RAW_GOAL_MS, COMPRESSED_GOAL_MS = 5.0, 60.0  # behind /stream-tokens
LIKE = 0.98  # correlation of a compressed sound with what it was made of
LENGTH_S = 0.1  # that a codec may pad


@dataclass(slots=True)
class Heard:
    """What one client got, and when."""

    began: float
    pieces: list[tuple[float, bytes]]

    @property
    def data(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    def first_audio_s(self, codec: str) -> float:
        """Looked for afterwards, so that decoding disturbs nothing."""
        got = bytearray()
        for at, piece in self.pieces:
            got += piece
            if len(decode(bytes(got), codec)):
                return at - self.began
        raise SystemExit("no audio at all")


async def hear(door: Door, gateway: Gateway, text: str) -> Heard:
    async with door.connect(gateway) as connection:
        await asyncio.sleep(PAUSE_S)
        heard = Heard(time.perf_counter(), [])
        async for piece in _timed(connection.say(text)):
            heard.pieces.append(piece)
    return heard


async def _timed(pieces: AsyncIterator[bytes]) -> AsyncIterator[tuple[float, bytes]]:
    async for piece in pieces:
        yield time.perf_counter(), piece


async def present(gateway: Gateway) -> list[Door]:
    """The doors that this server has. Their first use is not measured."""
    found = []
    for door in DOORS:
        try:
            await hear(door, gateway, TEXT)
        except Absent as reason:
            print(f"left out: {door.name} ({reason})")
        else:
            found.append(door)
    return found


async def first_audio(gateway: Gateway, doors: list[Door], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {door.name: [] for door in doors}
    for _ in range(rounds):
        for door in random.sample(doors, len(doors)):
            seconds[door.name].append((await hear(door, gateway, TEXT)).first_audio_s(door.codec))
    return seconds


def text_of(client: int) -> list[str]:
    """Three sentences that nobody else says."""
    return [f"Client number {client} is speaking now.", f"This is sentence two of {client}.", f"Goodbye from {client}!"]


async def crowd(gateway: Gateway, doors: list[Door], clients: int) -> list[str]:
    """All at once; the complaints."""
    used = [doors[number % len(doors)] for number in range(clients)]
    answers = await asyncio.gather(*(hear(door, gateway, " ".join(text_of(n))) for n, door in enumerate(used)))
    judged = (judge(door, heard.data, text_of(n)) for n, (door, heard) in enumerate(zip(used, answers, strict=True)))
    return [complaint for complaint in judged if complaint]


def judge(door: Door, data: bytes, sentences: list[str]) -> str:
    """ "" if the answer is complete and in order."""
    expected, got = owed(sentences), decode(data, door.codec)
    if not door.is_compressed:
        return "" if np.array_equal(got, expected) else f"{door.name}: not the samples that were rendered"
    too_long_s = (len(got) - len(expected)) / RATE
    if not -0.001 <= too_long_s <= LENGTH_S:
        return f"{door.name}: {too_long_s:+.3f} s"
    alike = likeness(got, expected)
    return "" if alike >= LIKE else f"{door.name}: correlation {alike:.3f}"


def report(doors: list[Door], seconds: dict[str, list[float]], complaints: list[str], clients: int) -> None:
    yardstick = statistics.median(seconds[DOORS[0].name])
    rows = {door.name: _row(door, seconds[door.name], yardstick) for door in doors}
    print(f"text to first decodable audio, against {DOORS[0].name}; {machine()}")
    print(f"{'door':<28}{'median ms':>11}{'p95 ms':>9}{'behind ms':>11}   goal")
    for name, row in rows.items():
        told = f"{'kept' if row['behind_ms'] <= row['goal_ms'] else 'MISSED'} ({row['goal_ms']:g})"
        print(f"{name:<28}{row['median_ms']:>11.2f}{row['p95_ms']:>9.2f}{row['behind_ms']:>11.2f}   {told}")
    print(f"{clients} clients at once: {clients - len(complaints)} complete and in order")
    for complaint in complaints:
        print(f"  {complaint}")
    whole = {"complete": clients - len(complaints), "clients": clients}
    print(json.dumps({"bench": "doors", "machine": machine(), "doors": rows, **whole}))


def _row(door: Door, values: Iterable[float], yardstick: float) -> dict[str, float]:
    taken = list(values)
    median = statistics.median(taken)
    return {
        "median_ms": round(median * 1000, 3),
        "p95_ms": round(statistics.quantiles(taken, n=20)[-1] * 1000, 3),
        "behind_ms": round((median - yardstick) * 1000, 3),
        "goal_ms": COMPRESSED_GOAL_MS if door.is_compressed else RAW_GOAL_MS,
    }


async def measure(rounds: int, clients: int) -> int:
    tone = {"adapter": "voice_server.backends.tone:ToneBackend", "workers": 2}
    with serving(tone, wyoming_port=free_port()) as gateway:
        doors = await present(gateway)
        seconds = await first_audio(gateway, doors, rounds)
        complaints = await crowd(gateway, doors, clients)
    report(doors, seconds, complaints, clients)
    return len(complaints)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--clients", type=int, default=32)
    given = parser.parse_args()
    raise SystemExit(asyncio.run(measure(given.rounds, given.clients)))
