"""G6: an event loop that is blocked is told to the operator, with the line where it stood."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator

import pytest

from tests.harness import eventually
from voice_server.core.limits import WatchdogLimits
from voice_server.observe.watchdog import watching

pytestmark = pytest.mark.anyio
LIMITS = WatchdogLimits(told_every_s=60.0)


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


async def test_g6_a_blocked_loop_is_logged_with_the_line_where_it_stood(caplog: pytest.LogCaptureFixture) -> None:
    late: list[float] = []
    with caplog.at_level(logging.WARNING), watching(LIMITS, late.append):
        await eventually(lambda: bool(late), "the loop answered once")
        block_the_loop(0.5)
        await eventually(lambda: bool(caplog.records), "the block is logged")
    assert "in block_the_loop" in caplog.text
    assert caplog.records[0].__dict__["blocked_ms"] >= 300
    assert max(late) >= 0.3


async def test_g6_a_loop_that_is_always_late_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    late: list[float] = []
    with caplog.at_level(logging.WARNING), watching(LIMITS, late.append):
        for _ in range(4):
            block_the_loop(0.3)
            seen = len(late)
            await eventually(lambda seen=seen: len(late) > seen, "the loop answered")  # type: ignore[misc]
    assert len([seconds for seconds in late if seconds >= LIMITS.blocked_s]) >= 2
    assert len(caplog.records) == 1


async def test_g6_a_loop_that_answers_is_measured_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    late: list[float] = []
    with caplog.at_level(logging.WARNING), watching(WatchdogLimits(blocked_s=20.0, look_s=0.01), late.append):
        await eventually(lambda: len(late) >= 5, "the loop answered five times")
    assert not caplog.records
    assert all(seconds >= 0 for seconds in late)


async def test_g6_the_watch_ends_when_it_is_told_to_just_as_it_begins_to_look(free_switching: None) -> None:
    """Its pause is over while the loop still runs; the loop's word to end was overlooked then, and both waited."""
    loop, has_looked = asyncio.get_running_loop(), asyncio.Event()
    limits = WatchdogLimits(blocked_s=20.0, look_s=0.1)

    def looked(late_s: float) -> None:
        loop.call_soon_threadsafe(has_looked.set)

    with watching(limits, looked):
        await has_looked.wait()
        block_the_loop(0.01)  # the watch goes to rest
        sys.setswitchinterval(10.0)  # and gets to run only when the loop waits for it
        until = time.monotonic() + 2 * limits.look_s
        while time.monotonic() < until:
            pass


@pytest.fixture
def free_switching() -> Iterator[None]:
    interval_s = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval_s)
