"""VoxCPM through the gateway, beside the package alone in one process: how much of its speed survives?

    uv run python -m bench.voxcpm [--arch 2] [--size tiny|medium|full] [--device cpu|cuda] [--streams 1 2 4 8]
                                  [--engine torch|batched|nano] [--renders 1 4] [--venv FOLDER]
    uv run python -m bench.voxcpm --rows 1 4 16     engines torch and batched without a gateway: bench/voxcpm_rows.py
    uv run python -m bench.voxcpm --floor           what a step must take: bench/voxcpm_floor.py

The models have random weights in the real shapes (tests/tiny_voxcpm.py), so that speed and memory are honest and the
sound is noise; `full` are the published widths and depths. Every sentence is cut at the same number of steps.
`nano` needs an environment of yours. With engine torch the gateway is measured with each number of `renders` that a
worker holds open; and before that the adapter alone, without a gateway, with as many renders one after another and in
turn. On a GPU one render is compiled, and several cannot be.

    first       from the last character of a stream's first sentence to its first audio, median and worst
    rtf         seconds of work per second of audio, all streams together; below 1 / streams they all live in real time
    gap-free    streams whose audio always arrived before the listener had played what came before
    share       of the speed of the package alone
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import websockets

from bench import voxcpm_floor, voxcpm_rows
from bench.gateway import machine, serving
from voice_server.config import load_config
from voice_server.core.settings import BackendConfig
from voice_server.machine import see_gpus
from voice_server.venvs import VenvStore

_ROOT = Path(__file__).resolve().parent.parent
_SENTENCE = "This is one of the sentences that the model says."
_BATCH = 16  # renders that engine nano holds open, whatever it is told, and batched on a CPU
_BACKENDS = {"cpu": "voxcpm-cpu", "cuda": "voxcpm"}

# The packages themselves, by their own documented calls, as fast as one process goes.
_ALONE = {
    "torch": """
import json, sys, time
from voice_server.backends.voxcpm import standins
standins.install()
import torch
from voxcpm import VoxCPM
folder, device, text, steps, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
torch.set_num_threads(1)
model = VoxCPM.from_pretrained(folder, load_denoiser=False, optimize=device == "cuda", device=device)
rate = model.tts_model.sample_rate
def speak():
    begin, first, samples = time.perf_counter(), 0.0, 0
    for chunk in model.generate_streaming(text, max_len=steps):
        first = first or time.perf_counter() - begin
        samples += len(chunk)
    return first, samples / rate, time.perf_counter() - begin
for _ in range(2):
    speak()
print(json.dumps([speak() for _ in range(rounds)]))
""",
    "nano": """
import asyncio, json, sys, time
from nanovllm_voxcpm import VoxCPM
folder, text, steps, rounds = sys.argv[1], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
async def speak(pool, rate):
    begin, first, samples = time.perf_counter(), 0.0, 0
    async for chunk in pool.generate(text, max_generate_length=steps):
        first = first or time.perf_counter() - begin
        samples += len(chunk)
    return first, samples / rate, time.perf_counter() - begin
async def main():
    pool = VoxCPM.from_pretrained(folder, inference_timesteps=10, max_model_len=4096, devices=[0])
    await pool.wait_for_ready()
    info = await pool.get_model_info()
    rate = info.get("output_sample_rate", info["sample_rate"])
    for _ in range(2):
        await speak(pool, rate)
    print(json.dumps([await speak(pool, rate) for _ in range(rounds)]))
asyncio.run(main())
""",
}


# The adapter in one process: the same renders one after another and in turn, alternating, since machines drift.
_IN_TURN = """
import json, statistics, sys, time
from voice_server.backends.voxcpm import VoxcpmBackend
from voice_server.backends.voxcpm.desks import Desk
folder, device, text, steps, renders = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
optimize = "auto" if renders == 1 else False
quiet, sys.stdout = sys.stdout, sys.stderr
adapter = VoxcpmBackend(device, model=folder, optimize=optimize, renders=renders, progress=lambda stage: None)
def begin(number):
    return adapter.render(text, "zero-shot", seed=number, max_len=steps)
def one_by_one():
    return sum(len(chunk) for number in range(renders) for chunk in begin(number))
def in_turn():
    samples, turns = 0, [begin(number) for number in range(renders)]
    while turns:
        turn = turns.pop(0)
        chunk = next(turn, None)
        if chunk is not None:
            samples += len(chunk)
            turns.append(turn)
    return samples
def rtf(speak):
    begun = time.perf_counter()
    samples = speak()
    return (time.perf_counter() - begun) / (samples / adapter.sample_rate)
def switch_us():
    exchange, spent = Desk._exchange, []
    def timed(desk):
        begun = time.perf_counter()
        exchange(desk)
        spent.append(time.perf_counter() - begun)
    Desk._exchange = timed
    in_turn()
    return 2 * statistics.median(spent) * 1e6  # to the desk, and up again
rounds = [(rtf(one_by_one), rtf(in_turn)) for _ in range(6)][1:]
print(json.dumps({"rounds": rounds, "switch_us": switch_us(), "bytes": adapter._engine._desks.bytes_each}), file=quiet)
"""


@dataclass(frozen=True)
class Heard:
    """What one listener got."""

    first_s: float
    audio_s: float
    has_gap: bool


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    who: str
    first_median_ms: float | None  # None: nobody listened
    first_worst_ms: float | None
    rtf: float
    gap_free: str
    share: float
    gpu_gib: float | None


def alone(python: Path, folder: Path, options: argparse.Namespace) -> Row:
    rounds, steps = str(options.sentences), str(options.steps)
    command = [
        str(python),
        "-c",
        _ALONE["nano" if options.engine == "nano" else "torch"],
        str(folder),
        options.device,
        _SENTENCE,
        steps,
        rounds,
    ]
    done = subprocess.run(command, env=_environ(), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    renders = json.loads(done.stdout.splitlines()[-1])
    firsts = [first * 1000 for first, _, _ in renders]
    rtf = sum(wall for *_, wall in renders) / sum(audio for _, audio, _ in renders)
    return Row("package alone", statistics.median(firsts), max(firsts), rtf, "", 1.0, None)


def in_turn(python: Path, folder: Path, options: argparse.Namespace, renders: int) -> list[Row]:
    """The adapter without a gateway."""
    command = [str(python), "-c", _IN_TURN, str(folder), options.device, _SENTENCE, str(options.steps), str(renders)]
    done = subprocess.run(command, env=_environ(), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = json.loads(done.stdout.splitlines()[-1])
    rounds, caches = found["rounds"], f"{found['bytes'] / 1e6:.1f} MB of caches each"
    print(f"{renders} renders in one worker: {found['switch_us']:.0f} us for a switch, {caches}")
    ways = zip(("one by one", "in turn"), zip(*rounds, strict=True), strict=True)
    return [Row(f"adapter, {renders} {way}", None, None, statistics.median(rtfs), "", 1.0, None) for way, rtfs in ways]


async def listen(url: str, sentences: int, steps: int) -> Heard:
    async with websockets.connect(f"{url}?sample_rate=native", compression=None, max_size=None) as ws:
        rate = json.loads(await ws.recv())["sample_rate"]
        begin = time.perf_counter()
        options = {"max_len": steps}
        await ws.send(json.dumps({"opts": options, "token": f"{_SENTENCE}\n" * sentences, "done": True}))
        return await _hear(ws, begin, rate)


async def _hear(ws: websockets.ClientConnection, begin: float, rate: int) -> Heard:
    """As a player with no buffer: audio that comes after what was there has been played is a gap."""
    first, audio_s, has_gap = 0.0, 0.0, False
    async for message in ws:
        if isinstance(message, bytes):
            now = time.perf_counter()
            first = first or now
            has_gap |= now > first + audio_s and audio_s > 0
            audio_s += len(message) / 2 / rate
        elif json.loads(message)["type"] == "error":
            raise SystemExit(message)
    return Heard(first - begin, audio_s, has_gap)


async def together(url: str, renders: int, streams: int, sentences: int, steps: int) -> Row:
    begin = time.perf_counter()
    heard = await asyncio.gather(*(listen(url, sentences, steps) for _ in range(streams)))
    rtf = (time.perf_counter() - begin) / sum(one.audio_s for one in heard)
    firsts = [one.first_s * 1000 for one in heard]
    smooth = f"{sum(not one.has_gap for one in heard)}/{streams}"
    who = f"gateway, {streams} streams, {renders} open"
    return Row(who, statistics.median(firsts), max(firsts), rtf, smooth, 1.0, _gpu_gib())


def measure(options: argparse.Namespace) -> list[Row]:
    rows: list[Row] = []
    backend = load_config(None).backends[_BACKENDS[options.device]]
    python = VenvStore().build(backend.name, backend.venv, report=lambda line: None)
    speaking = options.venv.expanduser().absolute() / "bin" / "python" if options.venv else python
    with tempfile.TemporaryDirectory() as folder:
        build = [str(python), str(_ROOT / "tests" / "tiny_voxcpm.py"), folder, "--never-stop"]
        build += ["--arch", options.arch, "--size", options.size]
        subprocess.run(build, env=_environ(), check=True, capture_output=True)
        model = Path(folder) / options.arch
        before = alone(speaking, model, options)
        for renders in options.renders if options.engine == "torch" else [_BATCH]:
            if renders > 1 and options.engine == "torch":
                rows += in_turn(speaking, model, options, renders)
            rows += through_gateway(_entry(backend, model, speaking, options.engine, renders), renders, options)
        after = alone(speaking, model, options)
    return compared(rows, before, after)


def through_gateway(entry: dict[str, Any], renders: int, options: argparse.Namespace) -> list[Row]:
    with serving(entry) as gateway:
        counts = (1, *options.streams)  # the first one is warm-up
        wanted = options.sentences, options.steps
        return [asyncio.run(together(gateway.ws, renders, streams, *wanted)) for streams in counts][1:]


def compared(rows: Sequence[Row], before: Row, after: Row) -> list[Row]:
    """Beside the package alone as it was before and after: the speed of a shared machine drifts."""
    base = replace(before, rtf=(before.rtf + after.rtf) / 2)
    return [base, *(replace(row, share=base.rtf / row.rtf) for row in rows)]


def _entry(backend: BackendConfig, model: Path, python: Path, engine: str, renders: int) -> dict[str, Any]:
    """The shipped backend with another model, as an entry of backends.yaml."""
    torch = {"renders": renders, "optimize": "auto" if renders == 1 else False}
    return {
        "adapter": backend.adapter,
        "venv": {"path": str(python.parent.parent)},
        "devices": backend.devices,
        "options": {"model": str(model), "engine": engine, **(torch if engine == "torch" else {})},
        "opts": {"max_len": {"type": "int", "min": 4, "max": 4096}},
        "warmup_text": "",
    }


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


def _gpu_gib() -> float | None:
    gpus = see_gpus(os.environ).gpus
    return sum(gpu.total_gib - gpu.free_gib for gpu in gpus) if gpus else None


def report(rows: Sequence[Row], options: argparse.Namespace) -> None:
    gpus = ", ".join(gpu.name for gpu in see_gpus(os.environ).gpus)
    where = f"{gpus or 'no GPU'}; {machine()}"
    print(f"VoxCPM {options.arch}, {options.size}, engine {options.engine} on {options.device}; {where}")
    print(f"{'':<28}{'first ms':>10}{'worst ms':>10}{'rtf':>8}{'gap-free':>10}{'share':>8}{'GPU GiB':>9}")
    for row in rows:
        gib = "" if row.gpu_gib is None else f"{row.gpu_gib:.1f}"
        firsts = ("" if ms is None else f"{ms:.1f}" for ms in (row.first_median_ms, row.first_worst_ms))
        times = "".join(f"{first:>10}" for first in firsts) + f"{row.rtf:>8.4f}"
        print(f"{row.who:<28}{times}{row.gap_free:>10}{row.share:>8.1%}{gib:>9}")
    settings = {name: getattr(options, name) for name in ("arch", "size", "engine", "device")}
    result = [{name: getattr(row, name) for name in Row.__dataclass_fields__} for row in rows]
    print(json.dumps({"bench": "voxcpm", **settings, "machine": where, "rows": result}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=("0.5b", "1.5", "2"), default="2")
    parser.add_argument("--size", choices=("tiny", "medium", "full"), default="tiny")
    parser.add_argument("--device", choices=tuple(_BACKENDS), default="cpu")
    parser.add_argument("--engine", choices=("torch", "batched", "nano"), default="torch")
    parser.add_argument("--renders", type=int, nargs="+", default=[1, 4], help="open at once; engine torch")
    parser.add_argument("--venv", type=Path, help="an environment to use instead of the backend's; nano needs one")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--sentences", type=int, default=6, help="of each stream")
    parser.add_argument("--steps", type=int, default=25, help="of each sentence: 4 s of VoxCPM2")
    parser.add_argument("--rows", type=int, nargs="+", help="renders at once, in both engines, without a gateway")
    parser.add_argument("--rounds", type=int, default=3, help="with --rows, beside one to get warm")
    parser.add_argument("--floor", action="store_true", help="compute the floor only")
    parser.add_argument("--bandwidth", type=float, default=4.3, help="with --floor: of the device's memory, TB/s")
    parser.add_argument("--tflops", type=float, default=780.0, help="with --floor: of the device in bfloat16")
    arguments = parser.parse_args()
    if arguments.floor:
        voxcpm_floor.report(arguments)
    elif arguments.rows:
        voxcpm_rows.report(arguments)
    else:
        report(measure(arguments), arguments)
