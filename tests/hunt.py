"""Hunts flaky tests: tiers 1 to 3 again and again, in another order each time, on a machine that is kept busy.

    python -m tests.hunt --times 10 --busy 2

Tier 1 is all of tests/unit; tiers 2 and 3 are the numbered tests of docs/reliability.md, with real workers, servers and
sockets. The suites of the release tier, other people's clients and the page are not among them. A test that fails is
not tried again: the hunt goes on, says at the end what failed in which round, and exits with 1.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_NUMBERED = re.compile(r"::test_[wcifag]\d+[a-z]?_")
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")


def numbered() -> list[str]:
    """The node ids of the numbered tests, one for each function: its parameters come with it."""
    said = subprocess.run(
        [*_PYTEST, "-n", "0", "--collect-only", "tests/process", "tests/e2e"],
        cwd=_ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = {line.split("[")[0] for line in said.splitlines() if _NUMBERED.search(line)}
    return sorted(found)


def hunt(times: int, busy: int, at_once: int, seed: int) -> dict[int, list[str]]:
    """What failed, by round."""
    files = sorted(str(path.relative_to(_ROOT)) for path in (_ROOT / "tests/unit").glob("test_*.py"))
    prey = files + numbered()
    order = random.Random(seed)
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    failed = {}
    try:
        for turn in range(1, times + 1):
            order.shuffle(prey)
            if missed := _round(turn, prey, at_once):
                failed[turn] = missed
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    return failed


def _round(turn: int, prey: list[str], at_once: int) -> list[str]:
    start = time.monotonic()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as order:
        order.write("\n".join(prey))
        order.flush()
        done = subprocess.run(
            [*_PYTEST, "-n", str(at_once), f"@{order.name}"], cwd=_ROOT, capture_output=True, text=True
        )
    print(f"round {turn}: {done.stdout.splitlines()[-1]} after {time.monotonic() - start:.0f} s", flush=True)
    missed = _FAILED.findall(done.stdout)
    if done.returncode and not missed:  # it was never a test that failed
        missed = ["pytest itself"]
    if missed:
        print(done.stdout + done.stderr, flush=True)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="rounds (20)")
    parser.add_argument("--busy", type=int, default=2, help="processes that only use up CPU beside them (2)")
    parser.add_argument("-n", "--at-once", type=int, default=2, help="tests at the same time (2)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the orders")
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    failed = hunt(args.times, args.busy, args.at_once, args.seed)
    for turn, tests in failed.items():
        print(f"round {turn} failed:", *tests, sep="\n  ")
    print(f"{args.times - len(failed)} of {args.times} rounds without a failure")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
