"""What the gateway itself costs: CPU per second of audio, memory per idle connection.

    uv run python -m bench.cost [--streams 8] [--seconds 8] [--rounds 3] [--idle 900]

Only the server's own process is counted; its workers and the clients are others. The engine is the tone backend with
80 ms chunks and one worker per stream, every client asks for its next sentence when it has heard the one before:

    steady   real-time factor 1.0: each chunk comes alone and goes out alone, which is the dearest case
    bursts   real-time factor 0.1: a sentence's chunks come in a tenth of the time it takes to hear them
    floor    no gateway: bench/relay.py under the traffic of `steady`, which is what kernel and event loop cost

The three take turns, so that a busy machine is busy for all of them. Every figure is the median of the rounds. Nothing
is counted before a load has run for a while.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import websockets

from bench.gateway import Gateway, machine, running_gateway
from bench.relay import Relay, running_relay

SENTENCE = "This sentence is spoken by the tone backend and it is just about long enough."
BYTES_PER_S = 48_000
SENTENCE_S = 0.06 * len(SENTENCE)  # 4.6 s
CHUNK_S = 0.08
WARM_UP_S = 2.0


@dataclass
class Heard:
    """What all clients have heard so far."""

    pcm_bytes: int = 0
    messages: int = 0

    def take(self, pcm_bytes: int) -> None:
        self.pcm_bytes += pcm_bytes
        self.messages += 1


Traffic = Callable[[], AbstractAsyncContextManager[Heard]]


@dataclass(frozen=True)
class Sample:
    ms_per_audio_s: float
    us_per_message: float
    chunk_ms: float


def cpu_ns(pid: int) -> int:
    """Of all threads, to the nanosecond: the times in /proc/PID/stat have steps of 10 ms."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


async def sample(pid: int, traffic: Traffic, seconds: float) -> Sample:
    async with traffic() as heard:
        await asyncio.sleep(WARM_UP_S)
        begin_ns, before = cpu_ns(pid), replace(heard)
        await asyncio.sleep(seconds)
        used_ns = cpu_ns(pid) - begin_ns
        audio_s = (heard.pcm_bytes - before.pcm_bytes) / BYTES_PER_S
        messages = heard.messages - before.messages
    return Sample(used_ns / 1e6 / audio_s, used_ns / 1e3 / messages, audio_s * 1000 / messages)


def through_gateway(gateway: Gateway, streams: int) -> Traffic:
    async def listen(number: int, heard: Heard) -> None:
        await asyncio.sleep(CHUNK_S * number / streams)  # listeners do not come in step
        async with websockets.connect(f"{gateway.ws}?keep_open=1", compression=None) as ws:
            while True:
                begin = time.monotonic()
                await ws.send(json.dumps({"token": SENTENCE, "done": True}))
                await _hear_answer(ws, heard)
                await asyncio.sleep(begin + SENTENCE_S - time.monotonic())

    return lambda: _crowd(listen, streams)


async def _hear_answer(ws: websockets.ClientConnection, heard: Heard) -> None:
    while (message := await ws.recv()) != '{"type":"done"}':
        if isinstance(message, bytes):
            heard.take(len(message))


def through_relay(relay: Relay, streams: int) -> Traffic:
    async def listen(number: int, heard: Heard) -> None:
        await asyncio.sleep(CHUNK_S * number / streams)
        reader, listener = await asyncio.open_connection("127.0.0.1", relay.port)
        _, speaker = await asyncio.open_unix_connection(relay.path)
        with closing(listener), closing(speaker):
            await _speak_in_real_time(speaker, reader, heard)

    return lambda: _crowd(listen, streams)


async def _speak_in_real_time(speaker: asyncio.StreamWriter, reader: asyncio.StreamReader, heard: Heard) -> None:
    chunk = bytes(int(CHUNK_S * BYTES_PER_S))
    due = time.monotonic()
    while True:
        due += CHUNK_S
        await asyncio.sleep(due - time.monotonic())
        speaker.write(chunk)
        heard.take(len(await reader.readexactly(len(chunk))))


@asynccontextmanager
async def _crowd(listen: Callable[[int, Heard], Coroutine[Any, Any, None]], streams: int) -> AsyncIterator[Heard]:
    heard = Heard()
    listeners = [asyncio.create_task(listen(number, heard)) for number in range(streams)]
    try:
        yield heard
    finally:
        for listener in listeners:
            listener.cancel()
        ends = await asyncio.gather(*listeners, return_exceptions=True)
    for end in ends:
        if not isinstance(end, asyncio.CancelledError):
            raise SystemExit(f"a client failed: {end!r}")


async def take_turns(loads: dict[str, tuple[int, Traffic]], rounds: int, seconds: float) -> dict[str, Sample]:
    samples: dict[str, list[Sample]] = {name: [] for name in loads}
    for _ in range(rounds):
        for name, (pid, traffic) in loads.items():
            samples[name].append(await sample(pid, traffic, seconds))
    return {name: _median(of_load) for name, of_load in samples.items()}


def _median(samples: list[Sample]) -> Sample:
    return sorted(samples, key=lambda taken: taken.ms_per_audio_s)[len(samples) // 2]


async def memory_per_connection(gateway: Gateway, count: int) -> float:
    """KiB."""
    process = psutil.Process(gateway.pid)
    warm = [await _idle(gateway) for _ in range(50)]  # the first connections also pay for caches and arenas
    before = process.memory_info().rss
    sockets = [await _idle(gateway) for _ in range(count)]
    after = process.memory_info().rss
    for ws in [*warm, *sockets]:
        ws.transport.abort()
    return (after - before) / 1024 / count


async def _idle(gateway: Gateway) -> websockets.ClientConnection:
    ws = await websockets.connect(gateway.ws, compression=None)
    await ws.recv()
    return ws


def measure_cpu(streams: int, rounds: int, seconds: float) -> dict[str, Sample]:
    with (
        running_gateway(workers=2 * streams, speed_rtf=1.0) as steady,  # with fewer, not everyone would be let in
        running_gateway(workers=streams, speed_rtf=0.1) as bursts,
        running_relay() as relay,
    ):
        loads = {
            "floor": (relay.pid, through_relay(relay, streams)),
            "steady": (steady.pid, through_gateway(steady, streams)),
            "bursts": (bursts.pid, through_gateway(bursts, streams)),
        }
        return asyncio.run(take_turns(loads, rounds, seconds))


def measure_memory(count: int) -> float:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 2 * count + 512)), hard))
    with running_gateway(workers=1) as gateway:
        return asyncio.run(memory_per_connection(gateway, count))


def report(cpu: dict[str, Sample], streams: int, idle_kib: float, idle: int) -> None:
    floor = cpu["floor"].ms_per_audio_s
    print(f"the gateway's CPU, {streams} streams; {machine()}")
    print(f"{'load':<8}{'ms per s of audio':>19}{'us per message':>16}{'ms per message':>16}{'x floor':>9}")
    for name, taken in cpu.items():
        ratio = taken.ms_per_audio_s / floor
        row = f"{taken.ms_per_audio_s:>19.2f}{taken.us_per_message:>16.0f}{taken.chunk_ms:>16.0f}{ratio:>9.2f}"
        print(f"{name:<8}{row}")
    print(f"idle connection {idle_kib:.1f} KiB ({idle} of them)")
    rows = {f"{name}_ms_per_audio_s": round(taken.ms_per_audio_s, 3) for name, taken in cpu.items()}
    print(json.dumps({"bench": "cost", "machine": machine(), **rows, "kib_per_connection": round(idle_kib, 1)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=900)
    given = parser.parse_args()
    cpu = measure_cpu(given.streams, given.rounds, given.seconds)
    report(cpu, given.streams, measure_memory(given.idle), given.idle)
