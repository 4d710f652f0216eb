"""The same scheduler in simulated time: other loads, other sizes, in seconds; and does it agree with the real run?

    uv run python -m bench.simulate [--loads 30 60 90 120 150] [--seconds 300]
    uv run python -m bench.simulate --compare FILE          FILE is what bench.schedule --json wrote
    uv run python -m bench.simulate --scale 1 10 100 1000   workers, chunk-EDF
    uv run python -m bench.simulate --plots docs/media      both of the first and the third, drawn
    uv run python -m bench.simulate --nodes 125 --workers 1000 --listeners 10000 --seconds 120 --plots docs/media

`bench/simulated.py` says what is simulated. A comparison is asked exactly what the real run was asked, and takes the
engine's speed from fifo's throughput where that run was overloaded; the rest is predicted. The goal is 15 % for the
median and the 95th percentile of first audio, and for throughput. The last one is of `bench/scenarios.py`: workers on
many nodes, of which one is lost every minute.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.gateway import machine
from bench.listeners import Asked, Engine, Period, Policy, asked, policies
from bench.outcomes import Row, Scaled, table
from bench.scenarios import Crowd, Outcome, compare_scenarios, table_head
from bench.simulated import simulate

AGREES = 0.15
OVERLOAD = 1.2  # of capacity: no worker is ever idle
COMPARED = ("first_p50_ms", "first_p95_ms", "audio_per_s")
SCALE_PERIOD = Period(warm_up_s=15.0, seconds=15.0, drain_s=15.0)


def simulated_row(engine: Engine, policy: Policy, period: Period, load: float, answers: list[Asked]) -> Row:
    gateway = simulate(engine, policy, period, answers).gateway
    return Row.of(policy.name, load, gateway.listeners, gateway.audio_s / period.seconds)


def sweep(engine: Engine, capacity: int, period: Period, loads: Sequence[float], tokens_per_s: float) -> list[Row]:
    rows: list[Row] = []
    for load in loads:
        answers = asked(engine, load, period, tokens_per_s)
        rows += [simulated_row(engine, policy, period, load, answers) for policy in policies(capacity)]
    return rows


def scale(
    engine: Engine, capacity: int, sizes: Sequence[int], loads: Sequence[float], tokens_per_s: float
) -> Iterator[Scaled]:
    chunk_edf = policies(capacity)[-1]
    for workers in sizes:
        for load in loads:
            sized, begin = replace(engine, workers=workers), time.perf_counter()
            answers = asked(sized, load, SCALE_PERIOD, tokens_per_s)
            gateway = simulate(sized, chunk_edf, SCALE_PERIOD, answers).gateway
            row = Row.of(chunk_edf.name, load, gateway.listeners, gateway.audio_s / SCALE_PERIOD.seconds)
            yield Scaled(workers, row, gateway.most_streams, time.perf_counter() - begin)


def compare(real: dict[str, Any]) -> bool:
    """Prints each figure beside the real one; whether all agree."""
    engine, period, tokens_per_s = Engine(**real["engine"]), Period(**real["period"]), real["tokens_per_s"]
    by_name = {policy.name: policy for policy in policies(real["capacity"])}
    print(f"{'policy':<14}{'load':>5}  {'figure':<14}{'real':>10}{'simulated':>11}{'off by':>8}")
    agrees = True
    for row in real["rows"]:
        answers = asked(engine, row["load"], period, tokens_per_s)
        busy = under_load(engine, real["rows"], row["load"])
        ours = simulated_row(busy, by_name[row["policy"]], period, row["load"], answers).as_json()
        for figure in COMPARED:
            off = ours[figure] / row[figure] - 1
            agrees &= abs(off) <= AGREES
            told = f"{row[figure]:>10.1f}{ours[figure]:>11.1f}{off:>8.0%}{'' if abs(off) <= AGREES else '  NO'}"
            print(f"{row['policy']:<14}{row['load']:>5.0%}  {figure:<14}{told}")
    print(f"within {AGREES:.0%}: {'yes' if agrees else 'NO'}")
    return agrees


def under_load(engine: Engine, rows: Sequence[dict[str, Any]], load: float) -> Engine:
    """The engine as slow as it was in the next overloaded part of the run: a busy machine oversleeps more than an idle
    one, and a shared machine is busier in one minute than in the next."""
    gave = [row["audio_per_s"] for row in rows if row["policy"] == "fifo" and row["load"] >= max(load, OVERLOAD)]
    if not gave:
        return engine
    lost = engine.workers / gave[0] - engine.effective_rtf
    return replace(engine, step_s=engine.step_s + lost * engine.chunk_s)


def report_scale(sizes: Iterator[Scaled]) -> list[Scaled]:
    """Prints each when it is there: the last ones take minutes."""
    print(
        f"{'workers':>8}{'load':>6}{'streams':>9}{'p50 ms':>8}{'p95 ms':>8}{'gap-free':>10}{'refused':>9}{'took s':>8}"
    )
    reported: list[Scaled] = []
    for one in sizes:
        row = one.row
        told = f"{row.first_p50_ms:>8.0f}{row.first_p95_ms:>8.0f}{row.gap_free:>10.1%}{row.refused:>9.1%}"
        print(f"{one.workers:>8}{row.load:>6.0%}{one.most_streams:>9}{told}{one.took_s:>8.1f}", flush=True)
        reported.append(one)
    return reported


def many_nodes(given: argparse.Namespace) -> dict[str, Any]:
    load = given.nodes_load / 100
    crowd = Crowd(given.nodes, given.workers, given.listeners, load, given.capacity, given.tokens_per_s, given.seconds)
    outcomes: list[Outcome] = []
    print(table_head())
    for outcome in compare_scenarios(crowd, given.lost_every):
        print(outcome.line(), flush=True)
        outcomes.append(outcome)
    if given.plots:
        importlib.import_module("bench.plots").draw_nodes(outcomes, given.plots)
    return {"engine": asdict(crowd.engine), "crowd": asdict(crowd), "rows": [one.as_json() for one in outcomes]}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    engine = Engine()
    parser.add_argument("--loads", type=float, nargs="+", default=[30, 60, 90, 120, 150], help="percent of capacity")
    parser.add_argument("--workers", type=int, default=engine.workers)
    parser.add_argument("--capacity", type=int, default=8)
    parser.add_argument("--rtf", type=float, default=engine.rtf)
    parser.add_argument("--first-chunk", type=float, default=engine.first_chunk_s)
    parser.add_argument("--chunk-ms", type=float, default=engine.chunk_s * 1000)
    parser.add_argument("--step-ms", type=float, default=engine.step_s * 1000, help="overhead of each chunk")
    parser.add_argument("--tokens-per-s", type=float, default=60.0)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--compare", type=Path, help="a result of bench.schedule --json")
    parser.add_argument("--scale", type=int, nargs="+", help="numbers of workers")
    parser.add_argument("--scale-loads", type=float, nargs="+", default=[90, 150], help="percent of capacity")
    parser.add_argument("--nodes", type=int, default=0, help="that the workers live on: with links, and lost nodes")
    parser.add_argument("--listeners", type=int, default=10_000, help="on all nodes, at once")
    parser.add_argument("--nodes-load", type=float, default=85.0, help="percent of capacity")
    parser.add_argument("--lost-every", type=float, default=60.0, help="seconds from one lost node to the next")
    parser.add_argument("--plots", type=Path, help="the folder for the drawings, *.svg")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.compare:
        raise SystemExit(0 if compare(json.loads(given.compare.read_text())) else 1)
    if given.nodes:
        print(json.dumps({"bench": "simulate", "machine": machine(), **many_nodes(given)}))
        return
    engine = Engine(given.workers, given.rtf, given.first_chunk, given.chunk_ms / 1000, step_s=given.step_ms / 1000)
    result: dict[str, Any] = {"bench": "simulate", "machine": machine(), "engine": asdict(engine)}
    rows: list[Row] = []
    sizes: list[Scaled] = []
    if given.plots or not given.scale:
        loads = [load / 100 for load in given.loads]
        rows = sweep(engine, given.capacity, Period(seconds=given.seconds), loads, given.tokens_per_s)
        result["rows"] = [row.as_json() for row in rows]
        print(table(rows))
    if given.scale:
        sized = [load / 100 for load in given.scale_loads]
        sizes = report_scale(scale(engine, given.capacity, given.scale, sized, given.tokens_per_s))
        result["scale"] = [
            {"workers": one.workers, "took_s": round(one.took_s, 1), **one.row.as_json()} for one in sizes
        ]
    if given.plots:
        importlib.import_module("bench.plots").draw(rows, sizes, given.plots)  # matplotlib, only to draw
    print(json.dumps(result))


if __name__ == "__main__":
    main()
