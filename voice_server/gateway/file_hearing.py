"""A whole file of sound on its way to become text: no faster than the workers bear, and only while somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from voice_server.core.limits import Limits
from voice_server.core.text.hearing import HearingDone, HearingEvent, HearingProblem, TextHeard
from voice_server.pool.decoding import decoded
from voice_server.stream.hearing import Hearing, HearingSettings
from voice_server.stream.recogniser import Recogniser


async def heard(
    recogniser: Recogniser, limits: Limits, sound: bytes, options: Mapping[str, Any]
) -> AsyncGenerator[TextHeard | HearingDone, None]:
    """What a sound says, while it is heard, and at last all of it. Close the generator when nobody waits any more.

    The recogniser is ready. Raises what is wrong with the sound or the options, and what came in the way.
    """
    rate = recogniser.sample_rate
    assert rate is not None
    news: asyncio.Queue[HearingEvent | BaseException] = asyncio.Queue()
    hearing = Hearing(recogniser, limits, HearingSettings(rate, dict(options)), news.put_nowait)
    feeding = asyncio.create_task(_feed(hearing, sound, rate, limits))
    feeding.add_done_callback(lambda task: _tell_failure(task, news))
    try:
        while True:
            event = await news.get()
            if isinstance(event, BaseException):
                raise event
            if isinstance(event, HearingProblem):
                raise event.error
            if isinstance(event, TextHeard | HearingDone):
                yield event
            if isinstance(event, HearingDone):
                return
    finally:
        hearing.close()
        feeding.cancel()
        await asyncio.wait([feeding])


async def heard_whole(recogniser: Recogniser, limits: Limits, sound: bytes, options: Mapping[str, Any]) -> HearingDone:
    """Raises what `heard` raises."""
    async with aclosing(heard(recogniser, limits, sound, options)) as events:
        async for event in events:
            if isinstance(event, HearingDone):
                return event
    raise AssertionError("a hearing ends with its text, or with a problem")


async def _feed(hearing: Hearing, sound: bytes, rate: int, limits: Limits) -> None:
    """Raises UnknownFormat and AudioTooLong."""
    async with decoded(sound, rate, limits.transcriptions) as pieces:
        async for piece in pieces:
            await hearing.room()
            hearing.hear(piece)
    hearing.finish()


def _tell_failure(task: asyncio.Task[None], news: asyncio.Queue[HearingEvent | BaseException]) -> None:
    """A mistake of ours too: else its client would wait for ever."""
    if not task.cancelled() and (error := task.exception()):
        news.put_nowait(error)
