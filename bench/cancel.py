"""How long a cancel takes, through the socket of a real server: until the worker is free, and until it speaks again.

    uv run python -m bench.cancel [--rounds 100] [--chunk-ms 50]

    to free     from the client's `cancel` to a worker without an open render: what the next in line waits for
    to audio    from the client's `cancel`, followed at once by a new text, to the first audio of that

The engine is tone at the pace of a person, one worker: whoever comes next needs this worker and no other. A chunk that
is being computed is computed to its end, and the cancel follows an audio at once, when the next chunk has just begun:
one chunk is the least that the first figure can be, two that the second can.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
import urllib.request

import websockets

from bench.gateway import Gateway, machine, running_gateway

TEXT = "This answer is interrupted, again and again, and nobody will ever know how it would have ended, number {}."
_LOOK_S = 0.001


async def say(ws: websockets.ClientConnection, **message: object) -> None:
    await ws.send(json.dumps(message))


async def until_audio(ws: websockets.ClientConnection) -> float:
    while not isinstance(await ws.recv(), bytes):
        pass
    return time.perf_counter()


async def until_told(ws: websockets.ClientConnection, kind: str) -> None:
    while isinstance(message := await ws.recv(), bytes) or json.loads(message)["type"] != kind:
        pass


def open_renders(gateway: Gateway) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/status") as response:
        return sum(worker["open_renders"] for worker in json.load(response)["backends"][0]["workers"])


def until_free(gateway: Gateway) -> None:
    while open_renders(gateway):
        time.sleep(_LOOK_S)


async def to_free(ws: websockets.ClientConnection, gateway: Gateway, number: int) -> float:
    await say(ws, token=TEXT.format(number), flush=True)
    await until_audio(ws)
    begin = time.perf_counter()
    await say(ws, cancel=True)
    await asyncio.to_thread(until_free, gateway)
    took_s = time.perf_counter() - begin
    await until_told(ws, "cancelled")
    return took_s


async def to_audio(ws: websockets.ClientConnection, number: int) -> float:
    await say(ws, token=TEXT.format(number), flush=True)
    await until_audio(ws)
    begin = time.perf_counter()
    await say(ws, cancel=True)
    await say(ws, token=f"Answer {number}.", flush=True)
    await until_told(ws, "cancelled")
    took_s = await until_audio(ws) - begin
    await say(ws, cancel=True)
    await until_told(ws, "cancelled")
    return took_s


async def measure(gateway: Gateway, rounds: int) -> dict[str, list[float]]:
    async with websockets.connect(gateway.ws, max_size=None) as ws:
        free = [await to_free(ws, gateway, number) for number in range(rounds)]
        audio = [await to_audio(ws, number) for number in range(rounds)]
    return {"to free": free, "to audio": audio}


def summary(times_s: list[float]) -> dict[str, float]:
    ordered = sorted(times_s)
    p95_s = ordered[int(0.95 * (len(ordered) - 1))]
    return {
        "median_ms": round(statistics.median(ordered) * 1000, 1),
        "p95_ms": round(p95_s * 1000, 1),
        "max_ms": round(ordered[-1] * 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--chunk-ms", type=int, default=50)
    given = parser.parse_args()
    with running_gateway(1, chunk_ms=given.chunk_ms, speed_rtf=1.0) as gateway:
        seen = asyncio.run(measure(gateway, given.rounds))
    told = {name: summary(times_s) for name, times_s in seen.items()}
    print(f"{given.rounds} cancels, chunks of {given.chunk_ms} ms, {machine()}")
    for name, figures in told.items():
        print(f"{name:9}" + "".join(f"  {key.replace('_ms', '')} {value:6.1f} ms" for key, value in figures.items()))
    print(json.dumps({"chunk_ms": given.chunk_ms, "rounds": given.rounds, **told}))


if __name__ == "__main__":
    main()
