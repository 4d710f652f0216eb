"""Who leaves POST /chat while it is written is noticed, at whatever moment of a token's way that is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest
from starlette.requests import Request

from voice_server.gateway.doors.chat import Told

SCOPE = {"type": "http", "method": "POST", "path": "/chat", "headers": []}
TOKENS_HEARD = 3
SOON_S = 5.0


async def endless() -> AsyncGenerator[str, None]:
    while True:
        await asyncio.sleep(0.001)
        yield "token "


@pytest.mark.anyio
@pytest.mark.parametrize("turns", range(8))
async def test_a_client_that_leaves_ends_the_answer(turns: int) -> None:
    """So many turns of the event loop before the third token is sent: one of them is when the send has just ended."""
    gone, sent = asyncio.Event(), 0

    async def receive() -> MutableMapping[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal sent
        sent += 1
        if sent < TOKENS_HEARD:
            return
        gone.set()
        for _ in range(turns):
            await asyncio.sleep(0)

    told = Told(Request(SCOPE, receive, send), endless(), patience_s=SOON_S)
    answering = asyncio.create_task(told(SCOPE, receive, send))
    done, _ = await asyncio.wait([answering], timeout=SOON_S / 5)
    answering.cancel()
    assert done
