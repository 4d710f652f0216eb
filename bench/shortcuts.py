"""What each shortcut to the first audio brings, with the engine hibari, which gives a sentence in one piece.

    uv run python -m bench.shortcuts [--rounds 30]

    first    from the text to the first audio, median and p95
    onset    to the first sample that can be heard (over -50 dBFS) of a listener who plays at once

All variants are measured in one run, in random order. Each round speaks a sentence that was not said before, but for
the variant `repeated`, which says its own again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

from bench.gateway import machine
from voice_server.assembly import Choice, running
from voice_server.config import load_config
from voice_server.core.audio.onset import AudibleOnset
from voice_server.core.events import AudioChunk, Event
from voice_server.core.limits import Limits
from voice_server.core.settings import BackendConfig
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Talk

SENTENCE = "When you come to the office on day {} of the month, please bring the blue folder with all of the letters."

Round = Callable[[int], Awaitable[tuple[float, float]]]


def variants(config: BackendConfig) -> dict[str, BackendConfig]:
    plain = replace(config, trim_silence=False, eager_clause=False, cache_mib=0)
    trimmed = replace(plain, trim_silence=True)
    eager = replace(trimmed, eager_clause=True)
    return {"plain": plain, "trimmed": trimmed, "eager clause": eager, "repeated": replace(trimmed, cache_mib=32)}


async def speak(backend: Backend, text: str) -> tuple[float, float]:
    """Seconds to the first audio, and to the first sample that is heard."""
    heard: list[float] = []
    onset = AudibleOnset()
    begin = time.perf_counter()

    async def send(event: Event) -> None:
        if isinstance(event, AudioChunk):
            heard.append(time.perf_counter() - begin)
            onset.push(event.pcm)

    talk = Talk(backend, Limits(), StreamSettings(), send)
    talk.stream.push(text)
    talk.stream.finish()
    await talk.over()
    return heard[0], heard[0] + (onset.samples or 0) / talk.stream.sample_rate


async def measure(rounds: int) -> dict[str, list[tuple[float, float]]]:
    configs = variants(load_config(None).backends["hibari"])
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in configs}
    async with AsyncExitStack() as stack:
        backends: dict[str, Backend] = {}
        for name, config in configs.items():
            started = await stack.enter_async_context(running([Choice(config, "")], 1, Limits(), print))
            (backend,) = started.backends
            await backend.pool.until_ready()
            backends[name] = backend
            await speak(backend, SENTENCE.format("one"))
        for number in range(rounds):
            for name in random.sample(list(backends), len(backends)):
                text = SENTENCE.format("one" if name == "repeated" else number)
                seen[name].append(await speak(backends[name], text))
    return seen


def report(seen: dict[str, list[tuple[float, float]]]) -> None:
    print(f"shortcuts to the first audio, hibari; {machine()}")
    print(f"{'':<14}{'first ms':>10}{'p95 ms':>9}{'onset ms':>10}{'p95 ms':>9}")
    rows = {}
    for name, values in seen.items():
        figures = [[1000 * value[which] for value in values] for which in (0, 1)]
        first, onset = ((statistics.median(one), statistics.quantiles(one, n=20)[-1]) for one in figures)
        print(f"{name:<14}{first[0]:>10.1f}{first[1]:>9.1f}{onset[0]:>10.1f}{onset[1]:>9.1f}")
        rows[name] = {"first_ms": first[0], "first_p95_ms": first[1], "onset_ms": onset[0], "onset_p95_ms": onset[1]}
    print(json.dumps({"bench": "shortcuts", "machine": machine(), **rows}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    report(asyncio.run(measure(parser.parse_args().rounds)))
