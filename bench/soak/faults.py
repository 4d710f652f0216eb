"""Plays the schedule: breaks workers by signals and by orders to their engine, and lets bad clients loose."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Iterator, Sequence

import psutil

from bench.soak.attackers import ATTACKS
from bench.soak.engine import GARBAGE
from bench.soak.journal import Journal
from bench.soak.schedule import Fault
from bench.soak.server import Server

_FLOOD_MB = 5
_OVER_S = 150.0  # for the last attack to be over


class Saboteur:
    def __init__(self, server: Server, journal: Journal) -> None:
        self._server = server
        self._journal = journal
        self._addresses = _addresses()
        self._attacks: set[asyncio.Task[None]] = set()

    async def run(self, faults: Sequence[Fault]) -> None:
        """Each at its time. Returns when the last attack is over."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number, fault in enumerate(faults):
            await asyncio.sleep(begin + fault.at_s - loop.time())
            self._strike(number, fault)
        if self._attacks:
            _, late = await asyncio.wait(self._attacks, timeout=_OVER_S)
            if late:
                self._journal.complain("attacks", f"{len(late)} did not end within {_OVER_S:g} s")

    def _strike(self, number: int, fault: Fault) -> None:
        match fault.kind:
            case "kill -9":
                self._signal(fault, signal.SIGKILL)
            case "SIGSTOP":
                self._signal(fault, signal.SIGSTOP)
            case "garbage from a worker":
                self._order(number, fault, f"garbage:{fault.pick(list(GARBAGE))}")
            case "stderr flood":
                self._order(number, fault, f"stderr@1:{_FLOOD_MB}")
            case _:
                attack = asyncio.create_task(self._attack(fault))
                self._attacks.add(attack)
                attack.add_done_callback(self._attacks.discard)

    def _signal(self, fault: Fault, number: signal.Signals) -> None:
        workers = self._server.workers()
        try:
            fault.pick(workers).send_signal(number)
        except (IndexError, psutil.NoSuchProcess):
            self._journal.missed[fault.kind] += 1
        else:
            self._journal.struck[fault.kind] += 1

    def _order(self, number: int, fault: Fault, text: str) -> None:
        """Whole at once: a worker may look at any time."""
        draft = self._server.orders.parent / "order"
        draft.write_text(text)
        draft.rename(self._server.orders / f"{number:06}")
        self._journal.struck[fault.kind] += 1

    async def _attack(self, fault: Fault) -> None:
        self._journal.struck[fault.kind] += 1
        try:
            complaint = await ATTACKS[fault.kind](self._server.gateway, next(self._addresses), fault)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is written down and fails the run
            complaint = f"{type(error).__name__}: {error}"
        if complaint:
            self._journal.complain(fault.kind, complaint)


def _addresses() -> Iterator[str]:
    """All of 127/8 is this machine."""
    return (f"127.7.{number // 250}.{number % 250 + 1}" for number in itertools.count())
