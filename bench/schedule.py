"""Scheduling under load: first audio, gaps, throughput and fairness of three policies, on real servers.

    uv run python -m bench.schedule [--loads 30 60 90 120 150] [--seconds 40] [--json FILE] [--quick]

    fifo           one render per worker, first come first served
    sentence-EDF   one render per worker, the sentence whose listener runs dry first
    chunk-EDF      many open renders per worker, the chunk whose listener runs dry first

One server for each policy, the three of them at the same time, asked the same by clients of their own (a WebSocket per
answer): whatever else the machine does, it does to all three. The same answer comes to them a third of a second apart,
so that they do not get into each other's way. `bench/listeners.py` says what is asked and who listens, and
`bench/outcomes.py` what the columns are. Before the loads, one listener at a time hears first sentences: what first
audio takes when nobody else is there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.crowd import CONNECT_S, Crowd, conversation, note
from bench.gateway import machine, serving
from bench.listeners import CHARS, Asked, Engine, Listener, Period, Policy, asked, policies
from bench.outcomes import Row, goals, percentile, table

APART_S = 0.33  # between the beginnings of the same answer at two servers
SETTLE_S = 0.05  # after a listener who was alone, for the engine to let go

QUICK = Period(warm_up_s=3.0, seconds=8.0, drain_s=6.0)
QUICK_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class Bench:
    engine: Engine
    policies: Sequence[Policy]
    loads: Sequence[float]
    period: Period
    tokens_per_s: float
    rounds: int  # of one listener at a time

    @property
    def bound_s(self) -> float:
        return self.rounds + len(self.loads) * (self.period.stops_at + len(self.policies) * APART_S)


Urls = dict[str, str]  # of the server of each policy


@contextmanager
def servers(bench: Bench) -> Iterator[Urls]:
    with ExitStack() as stack:
        yield {policy.name: stack.enter_context(serving(backend(bench.engine, policy))).ws for policy in bench.policies}


def backend(engine: Engine, policy: Policy) -> dict[str, Any]:
    options = {
        "speed_rtf": engine.rtf,
        "first_chunk_s": engine.first_chunk_s,
        "chunk_ms": round(engine.chunk_s * 1000),
        "seconds_per_char": engine.seconds_per_char,
        "capacity": policy.capacity,
    }
    adapter = "voice_server.backends.tone:ToneBackend"
    return {"adapter": adapter, "workers": engine.workers, "scheduling": policy.scheduling, "options": options}


async def alone(url: str, bench: Bench) -> list[float]:
    """First-audio seconds of one listener at a time."""
    draw, begins_at = random.Random(0), time.monotonic()
    waits: list[float] = []
    for number in range(bench.rounds):
        chars = (draw.randint(*CHARS), draw.randint(*CHARS))
        at = time.monotonic() - begins_at + CONNECT_S
        waits.append(await _first_audio(url, Asked(number, at, True, chars, bench.tokens_per_s), begins_at))
        await asyncio.sleep(SETTLE_S)
    return waits


async def _first_audio(url: str, answer: Asked, begins_at: float) -> float:
    listener = Listener(answer)
    async with conversation(url, listener, lambda: time.monotonic() - begins_at) as ws:
        while listener.playhead.first_at is None:
            note(listener, await ws.recv(), time.monotonic() - begins_at)
    return listener.first_audio_s


async def under_load(urls: Urls, bench: Bench, load: float) -> list[Row]:
    answers = asked(bench.engine, load, bench.period, bench.tokens_per_s)
    begins_at = time.monotonic() + CONNECT_S
    crowds = {
        name: Crowd(url, bench.period, begins_at + place * APART_S) for place, (name, url) in enumerate(urls.items())
    }
    await asyncio.gather(*(crowd.hear(answers) for crowd in crowds.values()))
    seconds = bench.period.seconds
    return [Row.of(name, load, crowd.listeners, crowd.audio_s / seconds) for name, crowd in crowds.items()]


async def measure(urls: Urls, bench: Bench) -> tuple[list[Row], dict[str, list[float]]]:
    waits = await asyncio.gather(*(alone(url, bench) for url in urls.values()))
    rows: list[Row] = []
    for load in bench.loads:
        rows += await under_load(urls, bench, load)
        print(f"{load:.0%} done", flush=True)
    return rows, dict(zip(urls, waits, strict=True))


def headline(bench: Bench) -> str:
    engine = bench.engine
    return (
        f"{engine.workers} workers, chunk-EDF's with capacity {bench.policies[-1].capacity}; real-time factor "
        f"{engine.rtf:g}, {engine.effective_rtf:.3f} with {engine.first_chunk_s * 1000:.0f} ms before each sentence "
        f"and {engine.step_s * 1000:.2f} ms of overhead per chunk; 100 % is {engine.audio_per_s:.1f} s of audio/s"
    )


def report(bench: Bench, rows: list[Row], waits: dict[str, list[float]], cpu_share: float) -> dict[str, Any]:
    """Prints the table and the JSON line, and returns the latter."""
    print(f"\n{headline(bench)}\n{machine()}; the clients took {cpu_share:.0%} of a core")
    print(table(rows))
    for name, values in waits.items():
        print(f"one listener alone, {name}: p50 {percentile(values, 50) * 1000:.0f} ms, ", end="")
        print(f"p95 {percentile(values, 95) * 1000:.0f} ms ({len(values)} of them)")
    told = goals(rows, waits)
    for goal in told:
        print(goal.line())
    result = {
        "bench": "schedule",
        "machine": machine(),
        "clients_cpu_share": round(cpu_share, 3),
        "engine": asdict(bench.engine),
        "capacity": bench.policies[-1].capacity,
        "tokens_per_s": bench.tokens_per_s,
        "period": asdict(bench.period),
        "alone_ms": {name: [round(value * 1000, 2) for value in values] for name, values in waits.items()},
        "goals": [goal.as_json() for goal in told],
        "rows": [row.as_json() for row in rows],
    }
    print(json.dumps(result))
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    engine, period = Engine(), Period()
    parser.add_argument("--loads", type=float, nargs="+", default=[30, 60, 90, 120, 150], help="percent of capacity")
    parser.add_argument("--workers", type=int, default=engine.workers)
    parser.add_argument("--capacity", type=int, default=8, help="open renders per worker, of chunk-EDF")
    parser.add_argument("--rtf", type=float, default=engine.rtf)
    parser.add_argument("--first-chunk", type=float, default=engine.first_chunk_s, help="seconds before a first chunk")
    parser.add_argument("--seconds", type=float, default=period.seconds, help="measured for each load")
    parser.add_argument("--warm-up", type=float, default=period.warm_up_s)
    parser.add_argument("--drain", type=float, default=period.drain_s)
    parser.add_argument("--tokens-per-s", type=float, default=60.0, help="the model's pace; 0 sends an answer at once")
    parser.add_argument("--rounds", type=int, default=40, help="listeners alone, one after the other")
    parser.add_argument("--json", type=Path, help="where the result goes too")
    parser.add_argument("--quick", action="store_true", help="half a minute at 90 %%: does it run at all?")
    return parser.parse_args()


def bench_of(given: argparse.Namespace) -> Bench:
    engine = replace(Engine(), workers=given.workers, rtf=given.rtf, first_chunk_s=given.first_chunk)
    period = Period(given.warm_up, given.seconds, given.drain)
    loads = [load / 100 for load in given.loads]
    bench = Bench(engine, policies(given.capacity), loads, period, given.tokens_per_s, given.rounds)
    return replace(bench, loads=[0.9], period=QUICK, rounds=QUICK_ROUNDS) if given.quick else bench


def main() -> None:
    given = arguments()
    bench = bench_of(given)
    with servers(bench) as urls:
        begin, cpu = time.monotonic(), time.process_time()
        rows, waits = asyncio.run(asyncio.wait_for(measure(urls, bench), bench.bound_s))
        cpu_share = (time.process_time() - cpu) / (time.monotonic() - begin)
    result = report(bench, rows, waits, cpu_share)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
