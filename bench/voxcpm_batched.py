"""Three ways to speak several VoxCPM renders in one process, and the least time that a step could take on a device.

    uv run python -m bench.voxcpm_batched [--arch 2] [--size tiny|medium|full] [--device cpu|cuda] [--rows 1 4 16]
    uv run python -m bench.voxcpm_batched --floor [--arch 2] [--bandwidth 4.3] [--tflops 780] [--rows 1 4 16 64 128]

one by one and in turn are engine torch, batched is engine batched; all renders begin at once and have the same length.
The models have random weights (tests/tiny_voxcpm.py). The three alternate, since machines drift.

    first       until the last of the renders has said something
    step        of one chunk of every render
    live        renders that such steps would keep in real time: the audio of a step by its time
    floor       bytes that a step must read over the bandwidth, or its arithmetic over the speed of it, if that is more.
                `--floor` alone computes it for the published size, without any model
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.gateway import machine
from tests.tiny_voxcpm import ARCHS, Size
from voice_server.config import load_config
from voice_server.venvs import VenvStore

_ROOT = Path(__file__).resolve().parent.parent
_BACKENDS = {"cpu": "voxcpm-cpu", "cuda": "voxcpm"}
_KEY_HEADS = 2
_VAE = {"0.5b": (26.9e6, 2.7e9), "1.5": (24.2e6, 5.9e9), "2": (45.8e6, 2.9e9)}  # weights, and operations of one chunk

_MEASURE = """
import json, statistics, sys, time
from voice_server.backends.voxcpm import VoxcpmBackend
folder, device, steps, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
counts = [int(count) for count in sys.argv[5:]]
out, sys.stdout = sys.stdout, sys.stderr
def load(engine, **options):
    known = {"model": folder, "renders": max(counts), "progress": lambda stage: None}
    return VoxcpmBackend(device, engine=engine, **known, **options)
torch_engine, batched = load("torch", optimize=False), load("batched")
def seats(backend, rows):
    return [backend.render("A", "zero-shot", seed=n, min_len=steps - 2, max_len=steps) for n in range(rows)]
def one_by_one(rows):
    heard = []
    for seat in seats(torch_engine, rows):
        heard += [time.perf_counter() for chunk in seat if len(chunk)][:1]
    return heard
def in_turn(rows):
    heard, going = {}, dict(enumerate(seats(torch_engine, rows)))
    while going:
        for number, seat in list(going.items()):
            if next(seat, None) is None:
                del going[number]
            heard.setdefault(number, time.perf_counter())
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
                    heard.setdefault(number, time.perf_counter())
    return list(heard.values())
def timed(way, rows):
    begun = time.perf_counter()
    heard = way(rows)
    return max(heard) - begun, (time.perf_counter() - begun) / steps
found = []
for rows in counts:
    ways = {"one by one": one_by_one, "in turn": in_turn, "batched": together}
    times = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            times[name].append(timed(way, rows))
    for name, seen in times.items():
        first, step = (statistics.median(part) for part in zip(*seen[1:]))
        found.append({"rows": rows, "way": name, "first_s": first, "step_s": step, "chunk_s": batched._shape.chunk_s})
print(json.dumps(found), file=out)
"""


@dataclass(frozen=True)
class Work:
    """What one step must do."""

    shared_bytes: float  # weights: read once, whoever is in the step
    row_bytes: float  # keys and values of one render
    row_flops: float

    def floor_s(self, rows: int, bandwidth: float, flops: float) -> float:
        return max((self.shared_bytes + rows * self.row_bytes) / bandwidth, rows * self.row_flops / flops)


def work(arch: str, size: Size, timesteps: int = 10, length: int = 400) -> Work:
    """Counted from the widths: a product of a weight and a row is two operations. Attention and norms are left out."""
    bytes_each = 2 if size.dtype == "bfloat16" else 4
    head, patch = size.hidden // size.heads, ARCHS[arch].patch_size
    layers = size.layers + size.residual_layers
    language = layers * _layer(size.hidden, size.intermediate, size.heads, head)
    around = 2 * size.hidden * size.quantiser + size.hidden**2 + 3 * size.hidden * size.local_hidden
    around += 2 * size.hidden**2 if arch == "2" else 0
    local = size.local_layers * _layer(size.local_hidden, size.local_ffn, size.local_heads, head)
    passes = timesteps - 1  # the first timestep does nothing
    tokens = 2 * ((2 if arch == "2" else 0) + 1 + 2 * patch)  # guidance computes all twice
    decoder, decoding = _VAE[arch]
    return Work(
        bytes_each * (language + around + local + passes * local) + 4 * decoder,
        bytes_each * 2 * layers * _KEY_HEADS * head * length,
        2 * (language + around + (patch + 1) * local + passes * tokens * local) + decoding,
    )


def _layer(hidden: int, intermediate: int, heads: int, head: int) -> int:
    """Weights of one transformer layer."""
    return hidden * head * (2 * heads + 2 * _KEY_HEADS) + 3 * hidden * intermediate


def measure(options: argparse.Namespace) -> list[dict[str, float | str]]:
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
    found: list[dict[str, float | str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def report(options: argparse.Namespace) -> None:
    found = measure(options)
    print(f"VoxCPM {options.arch}, {options.size}, on {options.device}; {machine()}")
    print(f"{'rows':>5}  {'way':<12}{'first ms':>10}{'step ms':>10}{'live':>8}")
    for row in found:
        live = float(row["rows"]) * float(row["chunk_s"]) / float(row["step_s"])
        times = f"{float(row['first_s']) * 1000:>10.1f}{float(row['step_s']) * 1000:>10.1f}"
        print(f"{row['rows']:>5}  {row['way']:<12}{times}{live:>8.1f}")
    print(json.dumps({"bench": "voxcpm_batched", "arch": options.arch, "size": options.size, "rows": found}))


def report_floor(options: argparse.Namespace) -> None:
    step = work(options.arch, ARCHS[options.arch].full)
    shared, row = step.shared_bytes / 1e9, step.row_bytes / 1e6
    print(f"VoxCPM {options.arch}, published size, 10 timesteps, 400 positions; computed, nothing was run")
    print(f"weights {shared:.2f} GB a step; of each row {row:.1f} MB of caches, {step.row_flops / 1e9:.0f} GFLOP")
    for rows in options.rows:
        floor_s = step.floor_s(rows, options.bandwidth * 1e12, options.tflops * 1e12)
        print(f"{rows:>5} rows: floor {floor_s * 1000:.2f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=tuple(ARCHS), default="2")
    parser.add_argument("--size", choices=("tiny", "medium", "full"), default="tiny")
    parser.add_argument("--device", choices=tuple(_BACKENDS), default="cpu")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--steps", type=int, default=12, help="of each render")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--floor", action="store_true", help="compute the floor only")
    parser.add_argument("--bandwidth", type=float, default=4.3, help="of the device's memory, TB/s")
    parser.add_argument("--tflops", type=float, default=780.0, help="of the device in bfloat16")
    arguments = parser.parse_args()
    (report_floor if arguments.floor else report)(arguments)
