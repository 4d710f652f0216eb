"""Whether hearing stays as quick as it begins: the time from the end of a second of audio until a worker has read it.

    uv run python -m bench.hearing [--minutes 10] [--backend whisper]

hibari speaks: sentences with pauses between them, and in the fifth minute none. The audio is told a second at a time,
the next one as soon as the last one was read: real-time pace, with the waiting left out. So nothing queues, and what is
measured is the reading of an open utterance, the last one of an utterance, or nothing in a pause. A partial whose cost
grew with the session would be slower each minute. CPU seconds are the worker's own, and do not mind other processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.gateway import machine
from voice_server import Voice
from voice_server.assembly import Choice, running
from voice_server.config import load_config
from voice_server.core.limits import Limits
from voice_server.core.text.hearing import HearingDone, HearingEvent, HearingProblem, TextHeard
from voice_server.stream.hearing import Hearing, HearingSettings
from voice_server.stream.recogniser import Recogniser

SENTENCES = (
    "The weather in London is cold and wet today, but it should be better by the weekend.",
    "Please send the report to the whole team before noon.",
    "Our train leaves the station early in the morning, so we have to pack our bags tonight.",
    "She plays the piano every evening after dinner.",
    "No, thank you.",
    "We could not find the keys, and waited outside until my sister came home with the other pair.",
    "The old bridge was closed for repairs last summer.",
    "I think that we should ask the people of the town what they want, and then decide together what to build.",
)
PAUSE_S = 0.6  # beside the silence that hibari itself puts around a sentence
GAPLESS_MINUTE = 4  # counted from 0
POLL_S = 0.002
PATIENCE_S = 120.0

Sound = NDArray[np.float32]


@dataclass(frozen=True)
class Minute:
    latencies_s: list[float]  # of each second of audio
    cpu_s: float
    partials: int


async def speech(minutes: int) -> tuple[list[Sound], int]:
    """Each minute, and their rate."""
    async with Voice("hibari") as voice:
        spoken = [await voice.generate(sentence) for sentence in SENTENCES]
        rate = voice.sample_rate
    pause = np.zeros(int(PAUSE_S * rate), dtype=np.float32)
    with_pauses = np.concatenate([part for sentence in spoken for part in (sentence, pause)])
    without = np.concatenate([_between_silences(sentence) for sentence in spoken])
    return [
        np.resize(without if number == GAPLESS_MINUTE else with_pauses, 60 * rate) for number in range(minutes)
    ], rate


def _between_silences(sound: Sound) -> Sound:
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    return sound[loud[0] : loud[-1] + 1]


class _Listener:
    def __init__(self, recogniser: Recogniser, rate: int) -> None:
        self.partials = 0
        self.text = ""
        self._is_over = False
        self._rate = rate
        self._worker = psutil.Process(recogniser.pool.slots[0].pid)
        self._hearing = Hearing(recogniser, Limits(), HearingSettings(rate), self._tell)

    def _tell(self, event: HearingEvent) -> None:
        if isinstance(event, HearingProblem):
            raise SystemExit(event.error.message)
        self.partials += isinstance(event, TextHeard)
        self._is_over = isinstance(event, HearingDone)
        if isinstance(event, HearingDone):
            self.text = event.text

    async def hear(self, sound: Sound) -> Minute:
        latencies, cpu_s, partials = [], self._cpu_s(), self.partials
        for at in range(0, len(sound), self._rate):
            begin = time.perf_counter()
            self._hearing.hear((sound[at : at + self._rate] * 32767).astype("<i2").tobytes())
            await _until(lambda: self._hearing.backlog_s == 0)
            latencies.append(time.perf_counter() - begin)
        return Minute(latencies, self._cpu_s() - cpu_s, self.partials - partials)

    async def finish(self) -> None:
        self._hearing.finish()
        await _until(lambda: self._is_over)

    def _cpu_s(self) -> float:
        times = self._worker.cpu_times()
        return float(times.user + times.system)


async def _until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing was heard for {PATIENCE_S:g} s")
        await asyncio.sleep(POLL_S)


async def measure(backend: str, minutes: int) -> list[Minute]:
    sounds, rate = await speech(minutes)
    choice = Choice(load_config(None).backends[backend], "")
    async with running([choice], 1, Limits(), print) as started:
        recogniser = started.recognisers[0]
        await recogniser.pool.until_ready()
        listener = _Listener(recogniser, rate)
        measured = [await listener.hear(sound) for sound in sounds]
        await listener.finish()
    return measured


def report(backend: str, minutes: list[Minute]) -> None:
    rows = [_row(minute) for minute in minutes]
    print(f"{backend}: from the end of a second of audio until it was read; {machine()}")
    print(f"{'minute':<8}{'median ms':>11}{'p95 ms':>9}{'CPU s':>8}{'texts':>8}")
    for number, row in enumerate(rows):
        note = "   without a pause" if number == GAPLESS_MINUTE else ""
        values = f"{row['median_ms']:>11.0f}{row['p95_ms']:>9.0f}{row['cpu_s']:>8.1f}{row['texts']:>8.0f}"
        print(f"{number + 1:<8}{values}{note}")
    ratios = {key: round(rows[-1][key] / rows[0][key], 2) for key in ("median_ms", "p95_ms", "cpu_s")}
    print("last minute / first: " + ", ".join(f"{key} {value}" for key, value in ratios.items()))
    line = {"bench": "hearing", "backend": backend, "machine": machine(), "minutes": rows, "last_by_first": ratios}
    print(json.dumps(line))


def _row(minute: Minute) -> dict[str, float]:
    p95 = statistics.quantiles(minute.latencies_s, n=20)[-1]
    median_ms = round(statistics.median(minute.latencies_s) * 1000, 1)
    return {
        "median_ms": median_ms,
        "p95_ms": round(p95 * 1000, 1),
        "cpu_s": round(minute.cpu_s, 2),
        "texts": minute.partials,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="whisper")
    parser.add_argument("--minutes", type=int, default=10)
    options = parser.parse_args()
    report(options.backend, asyncio.run(measure(options.backend, options.minutes)))
