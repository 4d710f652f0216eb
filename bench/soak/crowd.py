"""The honest clients: each talks, answer after answer, until the time is over."""

from __future__ import annotations

import asyncio
import random

from bench.soak.answers import Answer
from bench.soak.journal import Journal
from bench.soak.talkers import converse
from bench.soak.visitors import visit

_ROAMING, _ELSEWHERE, _STAYING = "with a line that breaks", "at another door", "on one line"
_PAUSE_S = 4.0  # at most, between two visits


async def talk_all_the_time(port: int, clients: int, seed: int, duration_s: float, journal: Journal) -> None:
    over_at = asyncio.get_running_loop().time() + duration_s
    await asyncio.gather(
        *(_client(port, number, random.Random(f"{seed}/{number}"), over_at, journal) for number in range(clients))
    )


async def _client(port: int, number: int, dice: random.Random, over_at: float, journal: Journal) -> None:
    """All begin with lines that break: what the server keeps for them is memory that it should have early."""
    loop, address = asyncio.get_running_loop(), f"127.0.1.{number + 1}"
    kind = _ROAMING
    while loop.time() < over_at:
        try:
            journal.answers += await _visit(port, address, dice, kind)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is written down and fails the run
            journal.complain(f"client {number}", f"{type(error).__name__}: {error}")
        await asyncio.sleep(dice.random() * _PAUSE_S)
        (kind,) = dice.choices((_ROAMING, _ELSEWHERE, _STAYING), (1, 1, 2))


async def _visit(port: int, address: str, dice: random.Random, kind: str) -> list[Answer]:
    if kind == _ELSEWHERE:
        return [await visit(port, address, dice)]
    return await converse(port, address, dice, roams=kind == _ROAMING)
