"""What an engine of backends.yaml takes on this machine: one worker, one thread, one sentence after the other.

    uv run python -m bench.engines kokoro piper hibari [--rounds 3]

`first` and `all` are seconds from the render's start to its first and its last audio; `rtf` is `all` per second of
audio, and `cpu` is the processor time of the worker per second of audio, which other work on the machine disturbs less.
`load` includes the warm-up; the environment is built before. Medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace

import psutil

from bench.gateway import machine
from voice_server.assembly import Choice, running
from voice_server.config import load_config
from voice_server.core.limits import Limits
from voice_server.pool.dispatcher import RenderRequest
from voice_server.stream.backend import Backend
from voice_server.wire.messages import Failed, Ready

TEXTS = {
    "short": "Hello there.",
    "sentence": "The weather in London is cold and wet today, but it will be better tomorrow.",
    "long": "When the rain had stopped, we walked to the river, and the children played with the dog, until it was "
    "dark, and our mother called us home for dinner, where the whole family sat around the table.",
}


@dataclass
class Row:
    """Seconds, of the median round."""

    text: str
    audio: float
    first: float
    all: float
    rtf: float
    cpu: float


class _Probe:
    """A RenderSink that looks at its watch and counts what it gets."""

    def __init__(self, request: RenderRequest) -> None:
        self._request = request
        self.chars = len(request.text)
        self.first_at = 0.0
        self.bytes = 0
        self.done = asyncio.get_running_loop().create_future()

    def request(self) -> RenderRequest:
        return self._request

    def on_started(self, worker: str, ready: Ready) -> None: ...

    def on_audio(self, pcm: bytes) -> None:
        self.first_at = self.first_at or time.perf_counter()
        self.bytes += len(pcm)

    def on_done(self, done: object) -> None:
        self.done.set_result(None)

    def on_failed(self, failed: Failed) -> None:
        raise SystemExit(failed.message)


async def render(backend: Backend, name: str) -> Row:
    dispatcher = backend.pool.dispatcher
    probe = _Probe(backend.request(TEXTS[name], backend.resolve_voice(""), backend.validate_options({})))
    stream, cpu, begin = dispatcher.open_stream(live=True), _cpu_s(), time.perf_counter()
    dispatcher.submit(stream, 0, probe)  # type: ignore[arg-type]
    await probe.done
    took, cpu = time.perf_counter() - begin, _cpu_s() - cpu
    dispatcher.close_stream(stream)
    audio = probe.bytes / 2 / (backend.sample_rate or 1)
    return Row(name, audio, probe.first_at - begin, took, took / audio, cpu / audio)


def _cpu_s() -> float:
    """Of all our children, which are the worker and who watches it."""
    times = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(spent.user + spent.system for spent in times)


async def measure(name: str, rounds: int) -> tuple[float, float, list[Row]]:
    """The seconds until it was ready, the MiB that it takes at most, and a row for each text."""
    config = replace(load_config(None).backends[name], warmup_text="Ready.", cache_mib=0)
    async with running([Choice(config, "")], 1, Limits(), lambda text: None) as engines:
        backend, begin = engines.backends[0], time.perf_counter()
        await backend.pool.until_ready()
        load_s = time.perf_counter() - begin
        rows = [[await render(backend, text) for _ in range(rounds)] for text in TEXTS]
        memory = max(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    return load_s, memory / 2**20, [_median(row) for row in rows]


def _median(rows: list[Row]) -> Row:
    return sorted(rows, key=lambda row: row.all)[len(rows) // 2]


def report(name: str, load_s: float, memory_mib: float, rows: list[Row]) -> None:
    print(f"{name}: load {load_s:.1f} s, {memory_mib:.0f} MiB; {machine()}")
    print(f"{'text':<10}{'audio s':>9}{'first s':>9}{'all s':>9}{'rtf':>8}{'cpu':>8}")
    for row in rows:
        print(f"{row.text:<10}{row.audio:>9.2f}{row.first:>9.2f}{row.all:>9.2f}{row.rtf:>8.3f}{row.cpu:>8.3f}")
    told = {"load_s": round(load_s, 2), "memory_mib": round(memory_mib), "rtf": statistics.median(r.rtf for r in rows)}
    print(json.dumps({"bench": "engines", "backend": name, **told, "texts": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backends", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for backend in arguments.backends:
        report(backend, *asyncio.run(measure(backend, arguments.rounds)))
