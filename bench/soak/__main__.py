"""Half an hour in the life of a gateway that everything happens to.

    python -m bench.soak --minutes 30 --seed 7 [--streams 16] [--workers 8] [--fault-every 2]

A real gateway with its limits as shipped; clients that talk all the time at many doors and check each byte; and a
fault every two seconds: workers killed, stopped, babbling and flooding their log; clients that stall, vanish, send
garbage and come in crowds. The schedule of faults is a function of the seed. It ends with a report in Markdown, and
with exit code 0 only if every promise was looked at and held.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

from bench.gateway import machine
from bench.soak.crowd import talk_all_the_time
from bench.soak.faults import Saboteur
from bench.soak.journal import Journal, Sample
from bench.soak.schedule import schedule
from bench.soak.server import Server, is_at_rest, serving, wait_until
from bench.soak.verdict import Ending, Verdict, judge_run, report

_ENGINE = {"speed_rtf": 0.1, "load_s": 0.2}  # ten times as fast as speech: a small GPU
_REST_S = 180.0  # until all is as before: a worker that died often is held off for a minute
_SAMPLE_S = 1.0
_NOBODY_S = 3.0  # without a client, before the first and after the last one


async def live(server: Server, given: argparse.Namespace, journal: Journal) -> None:
    duration_s = given.minutes * 60
    faults = schedule(given.seed, duration_s, given.fault_every)
    watching = asyncio.create_task(_watch(server, journal))
    try:
        await asyncio.gather(
            talk_all_the_time(server.gateway.port, given.streams, given.seed, duration_s, journal),
            Saboteur(server, journal).run(faults),
        )
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


async def _watch(server: Server, journal: Journal) -> None:
    begin = time.monotonic()
    while True:
        journal.samples.append(server.sample(time.monotonic() - begin))
        await asyncio.sleep(_SAMPLE_S)


def settle(server: Server, before: Sample) -> tuple[bool, Sample]:
    """Whether all came to rest, and what was left then."""
    try:
        wait_until(lambda: is_at_rest(server.status()), _REST_S, "to come to rest")
        wait_until(lambda: server.sample(0.0).fds == before.fds, _NOBODY_S, "to close its files")
    except SystemExit as late:
        print(late)
    return is_at_rest(server.status()), server.sample(0.0)


def soak(given: argparse.Namespace, folder: Path) -> Verdict:
    journal = Journal()
    with serving(folder, given.workers, **_ENGINE) as (server, stop):
        time.sleep(_NOBODY_S)
        before = server.sample(0.0)
        asyncio.run(live(server, given, journal))
        rests, after = settle(server, before)
        deaths, zombies = sum(worker["restarts"] for worker in server.status()["workers"]), server.zombies()
        exit_code = stop()
        orphans, lines = len(server.survivors()), server.grave_lines()
        ending = Ending(rests, deaths, before, after, zombies, exit_code, orphans, lines, server.warnings())
    title = f"{given.minutes:g} min, seed {given.seed}, {given.streams} streams on {given.workers} workers; {machine()}"
    return judge_run(title, journal, ending)


def main() -> int:
    parser = argparse.ArgumentParser(
        "bench.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--fault-every", type=float, default=2.0, metavar="S")
    parser.add_argument("--keep-log", type=Path, metavar="FILE", help="where the gateway's log is copied to")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        verdict = soak(given, Path(folder))
        if given.keep_log:
            given.keep_log.write_bytes((Path(folder) / "gateway.log").read_bytes())
    print(report(verdict))
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    raise SystemExit(main())
