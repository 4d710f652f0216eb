"""First-audio latency of the gateway itself: from the character that completes a sentence to the first PCM byte.

    uv run python -m bench.first_audio [--rounds 200]

The engine is the tone backend, which needs about no time for its first chunk; what it needs is measured and subtracted.
Three layers are measured in one run, each inside the next, so that their differences are the hops:

    engine   the adapter's first chunk, called directly in this process
    worker   a render sent to a real worker process, until its first audio frame
    core     text pushed into a stream, until its first audio event: splitter, scheduler, worker, reorder buffer
    socket   a token sent to a real server, until the first binary message: the whole gateway
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable

import websockets

from bench.gateway import machine, running_gateway
from voice_server.assembly import Choice, running
from voice_server.backends.tone import ToneBackend
from voice_server.config import load_config
from voice_server.core.events import AnswerDone, AudioChunk, Event
from voice_server.core.limits import Limits
from voice_server.pool.dispatcher import RenderRequest
from voice_server.stream.backend import Backend
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings
from voice_server.wire.messages import Failed, Ready

TEXT = "Hello there, this is the first sentence."
PAUSE_S = 0.01  # between two rounds, so that each one finds an idle gateway

Round = Callable[[], Awaitable[float]]


class _Probe:
    """A RenderSink that only looks at its watch."""

    chars = len(TEXT)

    def __init__(self) -> None:
        self.first = asyncio.get_running_loop().create_future()
        self.done = asyncio.get_running_loop().create_future()

    def request(self) -> RenderRequest:
        return RenderRequest(TEXT, "tone", {})

    def on_started(self, worker: str, ready: Ready) -> None: ...

    def on_audio(self, pcm: bytes) -> None:
        if not self.first.done():
            self.first.set_result(time.perf_counter())

    def on_done(self, done: object) -> None:
        self.done.set_result(None)

    def on_failed(self, failed: Failed) -> None:
        raise SystemExit(failed.message)


async def engine_round() -> float:
    engine = ToneBackend()
    begin = time.perf_counter()
    next(iter(engine.render(TEXT, "tone")))
    return time.perf_counter() - begin


def worker_round(backend: Backend) -> Round:
    async def once() -> float:
        dispatcher, probe = backend.pool.dispatcher, _Probe()
        stream = dispatcher.open_stream(live=True)
        begin = time.perf_counter()
        dispatcher.submit(stream, 0, probe)  # type: ignore[arg-type]
        latency = await probe.first - begin
        await probe.done
        dispatcher.close_stream(stream)
        return float(latency)

    return once


def core_round(backend: Backend) -> Round:
    async def once() -> float:
        outbox = Outbox(Limits().stream)
        stream = Stream(backend, outbox, Limits(), StreamSettings())
        stream.push(TEXT)
        heard: list[float] = []

        async def send(event: Event) -> None:
            if isinstance(event, AudioChunk):
                heard.append(time.perf_counter())

        writer = asyncio.create_task(outbox.run(send, lambda event: isinstance(event, AnswerDone)))
        await asyncio.sleep(0)
        begin = time.perf_counter()
        stream.push(" ")
        stream.finish()
        await writer
        stream.close()
        return heard[0] - begin

    return once


def socket_round(ws: websockets.ClientConnection) -> Round:
    async def once() -> float:
        await ws.send(json.dumps({"token": TEXT}))
        await asyncio.sleep(PAUSE_S)
        begin = time.perf_counter()
        await ws.send('{"token": " "}')
        while not isinstance(await ws.recv(), bytes):
            pass
        latency = time.perf_counter() - begin
        await ws.send('{"done": true}')
        while '"done"' not in str(await ws.recv()):
            pass
        return latency

    return once


async def measure(rounds: int) -> dict[str, list[float]]:
    layers: dict[str, list[float]] = {"engine": [], "worker": [], "core": [], "socket": []}
    choice = Choice(load_config(None).backends["tone"], "")
    with running_gateway(workers=1) as gateway:
        async with running([choice], 1, Limits(), print) as started:
            backend = started.backends[0]
            await backend.pool.until_ready()
            async with websockets.connect(f"{gateway.ws}?keep_open=1", compression=None) as ws:
                await ws.recv()
                kinds = {
                    "engine": engine_round,
                    "worker": worker_round(backend),
                    "core": core_round(backend),
                    "socket": socket_round(ws),
                }
                for _ in range(rounds):
                    for layer in random.sample(list(kinds), len(kinds)):
                        await asyncio.sleep(PAUSE_S)
                        layers[layer].append(await kinds[layer]())
    return layers


def report(layers: dict[str, list[float]]) -> None:
    engine = statistics.median(layers["engine"])
    rows = {name: _summary([value - engine for value in values]) for name, values in layers.items() if name != "engine"}
    print(f"first-audio latency without the engine's own {engine * 1000:.2f} ms; {machine()}")
    print(f"{'until':<8}{'median ms':>11}{'p95 ms':>9}{'hop ms':>9}   what the hop adds")
    before = 0.0
    for name, what in (
        ("worker", "two frames over the socketpair, two thread switches"),
        ("core", "splitting, scheduling, reordering, outbox"),
        ("socket", "JSON, two WebSocket messages, loopback, client"),
    ):
        median, p95 = rows[name]["median_ms"], rows[name]["p95_ms"]
        print(f"{name:<8}{median:>11.2f}{p95:>9.2f}{median - before:>9.2f}   {what}")
        before = median
    print(json.dumps({"bench": "first_audio", "rounds": len(layers["socket"]), "machine": machine(), **rows}))


def _summary(values: list[float]) -> dict[str, float]:
    p95 = statistics.quantiles(values, n=20)[-1]
    return {"median_ms": round(statistics.median(values) * 1000, 3), "p95_ms": round(p95 * 1000, 3)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    report(asyncio.run(measure(parser.parse_args().rounds)))
