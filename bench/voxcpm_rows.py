"""Three ways to speak several VoxCPM renders in one process, without a gateway.

    uv run python -m bench.voxcpm --rows 1 4 16 [--arch 2] [--size tiny|medium|full] [--device cpu|cuda]

one by one and in turn are engine torch, not compiled; batched is engine batched. All renders begin at once and have the
same length. The models have random weights (tests/tiny_voxcpm.py). The three alternate, since machines drift. On a CPU
times are those of the processor, of which there is one thread: other programs of the machine do not count.

    first       until the last of the renders has said something
    step        of one chunk of every render
    live        renders that such steps would keep in real time: the audio of a step by its time
    MB          memory that the round took beyond what was there, and the caches of its rows
    floor       of the time of a step, what reading and multiplying alone would take (bench/voxcpm_floor.py), by the
                fastest copy and product that this process could do on the device
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench.gateway import machine
from bench.voxcpm_floor import work
from tests.tiny_voxcpm import ARCHS, Size
from voice_server.config import load_config
from voice_server.venvs import VenvStore

_ROOT = Path(__file__).resolve().parent.parent
_BACKENDS = {"cpu": "voxcpm-cpu", "cuda": "voxcpm"}

_MEASURE = """
import json, statistics, sys, time
from pathlib import Path
from voice_server.backends.voxcpm import VoxcpmBackend
folder, device, steps, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
counts = [int(count) for count in sys.argv[5:]]
out, sys.stdout = sys.stdout, sys.stderr
clock = time.process_time if device == "cpu" else time.perf_counter
def load(engine, **options):
    known = {"model": folder, "renders": max(counts), "progress": lambda stage: None}
    return VoxcpmBackend(device, engine=engine, **known, **options)
torch_engine, batched = load("torch", optimize=False), load("batched")
def seats(backend, rows):
    return [backend.render("A", "zero-shot", seed=n, min_len=steps - 2, max_len=steps) for n in range(rows)]
def one_by_one(rows):
    heard = []
    for seat in seats(torch_engine, rows):
        heard += [clock() for chunk in seat if len(chunk)][:1]
    return heard
def in_turn(rows):
    heard, going = {}, dict(enumerate(seats(torch_engine, rows)))
    while going:
        for number, seat in list(going.items()):
            if next(seat, None) is None:
                del going[number]
            heard.setdefault(number, clock())
    return list(heard.values())
def together(rows):
    heard, going = {}, dict(enumerate(seats(batched, rows)))
    while going:
        moved = {id(seat) for seat in batched.step(list(going.values()))}
        for number, seat in list(going.items()):
            if id(seat) in moved:
                chunk = next(seat, None)
                if chunk is None:
                    del going[number]
                elif len(chunk):
                    heard.setdefault(number, clock())
    return list(heard.values())
import torch
def status(name):  # of this process, in bytes
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
def forget_peak():
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")
def peak():
    return torch.cuda.max_memory_allocated() if device == "cuda" else status("VmHWM")
def timed(way, rows):
    before, begun = forget_peak(), clock()
    heard = way(rows)
    took = clock() - begun
    return max(heard) - begun, took / steps, peak() - before
def fastest(work, rounds=5):
    for _ in range(rounds):
        work()
    spent = []
    for _ in range(rounds):
        begun = clock()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        spent.append(clock() - begun)
    return min(spent)
def limits():  # of the device: bytes and operations a second
    dtype = torch_engine._engine._model.stop_head.weight.dtype
    size, count = (8192, 1 << 30) if device == "cuda" else (1024, 1 << 27)
    square = torch.ones(size, size, dtype=dtype, device=device)
    long = torch.ones(count, dtype=torch.uint8, device=device)
    there = long.clone()
    return 2 * count / fastest(lambda: there.copy_(long)), 2 * size**3 / fastest(lambda: square @ square)
found = []
for rows in counts:
    ways = {"one by one": one_by_one, "in turn": in_turn, "batched": together}
    times = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            times[name].append(timed(way, rows))
    for name, seen in times.items():
        first, step, memory = (statistics.median(part) for part in zip(*seen[1:]))
        row = {"rows": rows, "way": name, "first_s": first, "step_s": step, "memory": memory}
        found.append({**row, "chunk_s": batched._shape.chunk_s})
bandwidth, flops = limits()
caches = torch_engine._engine._desks.bytes_each
print(json.dumps({"rows": found, "bandwidth": bandwidth, "flops": flops, "caches": caches}), file=out)
"""


def measure(options: argparse.Namespace) -> dict[str, Any]:
    backend = load_config(None).backends[_BACKENDS[options.device]]
    python = VenvStore().build(backend.name, backend.venv, report=lambda line: None)
    environ = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        build = [str(python), str(_ROOT / "tests" / "tiny_voxcpm.py"), folder, "--never-stop"]
        build += ["--arch", options.arch, "--size", options.size]
        subprocess.run(build, env=environ, check=True, capture_output=True)
        wanted = [str(number) for number in (options.steps, options.rounds, *options.rows)]
        command = [str(python), "-c", _MEASURE, f"{folder}/{options.arch}", options.device, *wanted]
        done = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(options: argparse.Namespace) -> None:
    found = measure(options)
    size: Size = getattr(ARCHS[options.arch], options.size)
    step = work(options.arch, size, length=options.steps)
    limits = found["bandwidth"], found["flops"]
    print(f"VoxCPM {options.arch}, {options.size}, on {options.device}; {machine()}")
    print(f"one copy {limits[0] / 1e9:.1f} GB/s, one product {limits[1] / 1e9:.0f} GFLOP/s")
    print(f"{'rows':>5}  {'way':<12}{'first ms':>10}{'step ms':>10}{'live':>8}{'MB':>8}{'floor':>8}")
    for row in found["rows"]:
        together = 1 if row["way"] == "one by one" else row["rows"]
        row["memory"] += together * found["caches"]
        row["floor"] = step.floor_s(row["rows"], *limits) / row["step_s"]
        live = row["rows"] * row["chunk_s"] / row["step_s"]
        times = f"{row['first_s'] * 1000:>10.1f}{row['step_s'] * 1000:>10.1f}{live:>8.1f}"
        print(f"{row['rows']:>5}  {row['way']:<12}{times}{row['memory'] / 1e6:>8.1f}{row['floor']:>8.1%}")
    print(json.dumps({"bench": "voxcpm", "arch": options.arch, "size": options.size, **found}))
