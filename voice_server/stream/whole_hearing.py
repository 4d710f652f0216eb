"""Audio that is there already becomes text: no faster than the workers bear, and only while somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from dataclasses import replace

from voice_server.core.audio.pcm import byte_count
from voice_server.core.limits import Limits
from voice_server.core.text.hearing import HearingDone, HearingEvent, HearingProblem, TextHeard
from voice_server.stream.hearing import Hearing, HearingSettings
from voice_server.stream.recogniser import Recogniser

_PIECE_S = 1.0


async def in_pieces(pcm: bytes, sample_rate: int) -> AsyncGenerator[bytes, None]:
    size = byte_count(_PIECE_S, sample_rate)
    for at in range(0, len(pcm), size):
        yield pcm[at : at + size]


def patient(limits: Limits) -> Limits:
    """Wait for a seat as long as a file may."""
    return replace(limits, stream=replace(limits.stream, queue_wait_s=limits.stream.file_wait_s))


async def heard(
    recogniser: Recogniser, limits: Limits, settings: HearingSettings, pieces: AsyncIterable[bytes]
) -> AsyncGenerator[TextHeard | HearingDone, None]:
    """What `pieces` of a second or two say, while they are heard, and at last all of it. Close it to end the hearing.

    The recogniser is ready. Raises what is wrong with the options, what came in the way, and what `pieces` raises.
    """
    news: asyncio.Queue[HearingEvent | BaseException] = asyncio.Queue()
    hearing = Hearing(recogniser, limits, settings, news.put_nowait)
    feeding = asyncio.create_task(_feed(hearing, pieces))
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


async def heard_whole(
    recogniser: Recogniser, limits: Limits, settings: HearingSettings, pieces: AsyncIterable[bytes]
) -> HearingDone:
    """Raises what `heard` raises."""
    async with aclosing(heard(recogniser, limits, settings, pieces)) as events:
        async for event in events:
            if isinstance(event, HearingDone):
                return event
    raise AssertionError("a hearing ends with its text, or with a problem")


async def _feed(hearing: Hearing, pieces: AsyncIterable[bytes]) -> None:
    async for piece in pieces:
        await hearing.room()
        hearing.hear(piece)
    hearing.finish()


def _tell_failure(task: asyncio.Task[None], news: asyncio.Queue[HearingEvent | BaseException]) -> None:
    """A mistake of ours too: else its client would wait for ever."""
    if not task.cancelled() and (error := task.exception()):
        news.put_nowait(error)
