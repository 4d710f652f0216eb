"""`python -m tests.fuzz TARGET --seconds N`: 0 when nothing was found. Needs the group `fuzz`.

libFuzzer ends its process, so each target has one of its own; what made a target fail is left in the current folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["voice_server"]):
    from tests.fuzz.targets import TARGETS

from tests.fuzz.seeds import seeds_of

_INPUT_BYTES = 4096
_SLOW_S = 10  # one input that takes longer is a finding


def fuzz(name: str, seconds: int) -> None:
    """Does not return."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds_of(name)):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            f"-max_len={_INPUT_BYTES}",
            f"-timeout={_SLOW_S}",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name])
        atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    if asked.target != "all":
        fuzz(asked.target, asked.seconds)
    failed = [name for name in TARGETS if _run(name, asked.seconds)]
    print(f"{len(TARGETS) - len(failed)} of {len(TARGETS)} parsers stood it", *failed)
    return len(failed)


def _run(name: str, seconds: int) -> int:
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    runs = [line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{name}: {'stood' if done.returncode == 0 else 'FAILED'}, {runs[0] if runs else '?'} inputs", flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:])
    return done.returncode


sys.exit(main())
