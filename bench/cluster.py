"""What a Ray cluster costs: first audio and throughput of far workers against those at home, in one run.

    uv run --extra cluster python -m bench.cluster [--rounds 200] [--sentences 60]

The nodes are raylets of this machine: what a network takes comes on top. The engine is the tone backend, ten times as
fast as speech. Rounds at home and far away take turns, so that a busy machine is as busy for both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from ray.cluster_utils import Cluster

from bench.first_audio import PAUSE_S, TEXT, worker_round
from bench.gateway import machine
from voice_server.assembly import build_pool, far_specs, voice_store, worker_specs
from voice_server.config import load_config
from voice_server.core.limits import Limits
from voice_server.pool.launcher import Launcher
from voice_server.pool.outfit import Outfit
from voice_server.pool.process import Guardian
from voice_server.pool.remote import Bridge, RayLauncher
from voice_server.stream.backend import Backend
from voice_server.venvs import VenvStore

WORKERS = 2
SPEED_RTF = 0.1  # seconds of work per second of audio, of an engine on a good GPU
STORE_BYTES = 80 * 2**20  # the least that Ray takes
TONE = replace(load_config(None).backends["tone"], options={"speed_rtf": SPEED_RTF}, warmup_text="")


@asynccontextmanager
async def cluster(guardian: Guardian) -> AsyncIterator[Bridge]:
    """Nodes that have room for one worker each, and the bridge to them."""
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    nodes = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(WORKERS):
        nodes.add_node(num_cpus=1, include_dashboard=False, object_store_memory=STORE_BYTES)
    bridge = Bridge(nodes.address, guardian, os.environ)
    try:
        yield bridge
    finally:
        bridge.close()
        nodes.shutdown()


@asynccontextmanager
async def speaking(launcher: Launcher, python: Path) -> AsyncIterator[Backend]:
    is_here = isinstance(launcher, Guardian)
    specs = worker_specs(TONE, python, WORKERS, []) if is_here else far_specs(TONE, WORKERS)
    limits = Limits()
    pool = build_pool(TONE, Outfit(tuple(specs)), limits)
    pool.start(launcher, asyncio.Semaphore(WORKERS), random.random)
    try:
        while any(slot.state != "ready" for slot in pool.slots):  # noqa: ASYNC110  # a pool tells of its first one only
            await asyncio.sleep(PAUSE_S)
        yield Backend(TONE, pool, voice_store(Path("no voices here"), limits.voices))
    finally:
        await pool.stop()


async def throughput(backend: Backend, sentences: int) -> float:
    """Sentences per second, when all of them wait in line."""
    once = worker_round(backend)
    begin = time.perf_counter()
    await asyncio.gather(*(once() for _ in range(sentences)))
    return sentences / (time.perf_counter() - begin)


async def measure(rounds: int, sentences: int, turns: int = 3) -> None:
    guardian = Guardian()
    python = VenvStore().build(TONE.name, TONE.venv, print)
    first: dict[str, list[float]] = {"local": [], "ray": []}
    rate: dict[str, list[float]] = {"local": [], "ray": []}
    try:
        async with (
            cluster(guardian) as bridge,
            speaking(guardian, python) as local,
            speaking(RayLauncher(bridge, lambda process: None), python) as far,
        ):
            places = {"local": local, "ray": far}
            for _ in range(rounds):
                for place in random.sample(list(places), 2):
                    await asyncio.sleep(PAUSE_S)
                    first[place].append(await worker_round(places[place])())
            for _ in range(turns):
                for place in random.sample(list(places), 2):
                    rate[place].append(await throughput(places[place], sentences))
    finally:
        guardian.close()
    report(first, rate)


def report(first: dict[str, list[float]], rate: dict[str, list[float]]) -> None:
    print(f"{WORKERS} workers, sentence of {len(TEXT)} characters, engine at {SPEED_RTF} of real time; {machine()}")
    print(f"{'':<8}{'first audio: median ms':>24}{'p95 ms':>9}{'sentences/s':>13}")
    rows = {}
    for place, values in first.items():
        p95, median = statistics.quantiles(values, n=20)[-1], statistics.median(values)
        row = {"median_ms": median * 1000, "p95_ms": p95 * 1000, "sentences_per_s": statistics.median(rate[place])}
        rows[place] = {name: round(value, 3) for name, value in row.items()}
        print(f"{place:<8}{row['median_ms']:>24.2f}{row['p95_ms']:>9.2f}{row['sentences_per_s']:>13.2f}")
    print(json.dumps({"bench": "cluster", "rounds": len(first["ray"]), "machine": machine(), **rows}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--sentences", type=int, default=60)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.sentences))
