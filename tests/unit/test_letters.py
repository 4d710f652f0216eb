from __future__ import annotations

import asyncio
from typing import Any

import pytest

from voice_server.core.errors import GoingAway, SlowClient
from voice_server.gateway.letters import Letters

pytestmark = pytest.mark.anyio


class SlowSocket:
    """Stands in for starlette's: it takes a message whenever the test lets it."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed: int | None = None
        self.may_send = asyncio.Semaphore(0)

    async def send_text(self, text: str) -> None:
        await self.may_send.acquire()
        self.sent.append(text)

    async def close(self, code: int) -> None:
        self.closed = code


def letters_of(socket: Any, send_s: float = 10.0) -> Letters:
    return Letters(socket, lambda error: error.code, send_s=send_s, unread=3)


async def test_what_waits_is_replaced_by_what_came_later_and_the_order_stays() -> None:
    socket = SlowSocket()
    letters = letters_of(socket)
    letters.put("partial 1", key="a")
    letters.put("other", key="b")
    letters.put("partial 2", key="a")
    letters.part(GoingAway("we close"))
    letters.put("too late")
    for _ in range(3):
        socket.may_send.release()
    await letters.run()
    assert socket.sent == ["partial 2", "other", "going_away"]
    assert socket.closed == 1012


async def test_who_reads_nothing_is_found_out() -> None:
    letters = letters_of(SlowSocket(), send_s=0.05)
    letters.put("hello")
    with pytest.raises(SlowClient):
        await letters.run()


async def test_who_lets_too_much_wait_is_found_out() -> None:
    letters = letters_of(SlowSocket())
    for _ in range(4):
        letters.put("error")
    with pytest.raises(SlowClient):
        await letters.run()


async def test_nothing_is_sent_to_somebody_who_left() -> None:
    socket = SlowSocket()
    letters = letters_of(socket)
    letters.put("hello")
    letters.leave()
    await letters.run()
    assert socket.sent == []
