"""Previews are rendered once, kept within their bytes, and given up when nobody waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.harness import eventually
from voice_server.core.audio.repeats import RepeatKey
from voice_server.gateway.previews import Previews

pytestmark = pytest.mark.anyio

ADA, BOB = (RepeatKey.of("Hello.", name, {}, {"backend": "one"}) for name in ("ada", "bob"))
KIB = 1024


class Renders:
    """Renders that end when they are let go; how many began, and how many were given up."""

    def __init__(self) -> None:
        self.begun = self.given_up = 0
        self.go = asyncio.Event()

    async def make(self) -> bytes:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return b"sound"


def ready(sound: bytes) -> Callable[[], Coroutine[Any, Any, bytes]]:
    async def make() -> bytes:
        return sound

    return make


async def failing() -> bytes:
    raise OSError("no engine")


async def test_those_who_ask_at_the_same_time_share_one_render() -> None:
    previews, renders = Previews(64 * KIB), Renders()
    asking = [asyncio.create_task(previews.get(ADA, renders.make)) for _ in range(5)]
    await eventually(lambda: renders.begun > 0, "it renders")
    renders.go.set()
    assert await asyncio.gather(*asking) == [b"sound"] * 5
    assert renders.begun == 1


async def test_a_preview_that_was_rendered_is_kept() -> None:
    previews = Previews(64 * KIB)
    assert await previews.get(ADA, ready(b"sound")) == b"sound"
    assert await previews.get(ADA, failing) == b"sound"


async def test_another_voice_is_another_preview() -> None:
    previews = Previews(64 * KIB)
    await previews.get(ADA, ready(b"ada"))
    assert await previews.get(BOB, ready(b"bob")) == b"bob"


async def test_who_leaves_does_not_end_it_for_others() -> None:
    previews, renders = Previews(64 * KIB), Renders()
    leaver, stayer = (asyncio.create_task(previews.get(ADA, renders.make)) for _ in range(2))
    await eventually(lambda: renders.begun > 0, "it renders")
    leaver.cancel()
    await asyncio.wait([leaver])
    renders.go.set()
    assert await stayer == b"sound"


async def test_when_the_last_one_leaves_the_render_ends_and_the_next_begins_anew() -> None:
    previews, renders = Previews(64 * KIB), Renders()
    leaver = asyncio.create_task(previews.get(ADA, renders.make))
    await eventually(lambda: renders.begun > 0, "it renders")
    leaver.cancel()
    await asyncio.wait([leaver])
    assert await previews.get(ADA, ready(b"later")) == b"later"
    assert renders.given_up == 1


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    previews = Previews(64 * KIB)
    told = await asyncio.gather(*(previews.get(ADA, failing) for _ in range(2)), return_exceptions=True)
    assert [type(error) for error in told] == [OSError, OSError]
    assert await previews.get(ADA, ready(b"sound")) == b"sound"


async def test_what_was_heard_longest_ago_makes_room() -> None:
    previews, keys = Previews(64 * KIB), [RepeatKey.of("Hello.", str(number), {}, {}) for number in range(8)]
    for key in keys:
        await previews.get(key, ready(bytes(10 * KIB)))
    assert await previews.get(keys[-1], failing) == bytes(10 * KIB)
    with pytest.raises(OSError):
        await previews.get(keys[0], failing)


async def test_what_is_forgotten_is_rendered_anew() -> None:
    previews = Previews(64 * KIB)
    await previews.get(ADA, ready(b"before"))
    previews.forget()
    assert await previews.get(ADA, ready(b"after")) == b"after"
