"""Audio that is there already, heard from its beginning to its end, as fast as the workers can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from dataclasses import replace

from voice_server.core.audio.pcm import byte_count
from voice_server.core.limits import Limits
from voice_server.core.text.hearing import HearingDone, HearingEvent, HearingProblem
from voice_server.stream.hearing import Hearing, HearingSettings
from voice_server.stream.recogniser import Recogniser

_PIECE_S = 1.0


async def in_pieces(pcm: bytes, sample_rate: int) -> AsyncIterable[bytes]:
    size = byte_count(_PIECE_S, sample_rate)
    for at in range(0, len(pcm), size):
        yield pcm[at : at + size]


async def hear_whole(
    recogniser: Recogniser,
    limits: Limits,
    settings: HearingSettings,
    pieces: AsyncIterable[bytes],
    tell: Callable[[HearingEvent], None] = lambda event: None,
) -> HearingDone:
    """What was said in `pieces`: each of whole samples, at most a second or so. `tell` hears of every event.

    Its recogniser must be ready. Raises BadOption, HearingFailed, Overloaded, BackendUnavailable, and what `pieces`
    raises. Who cancels it ends the hearing.
    """
    end: asyncio.Future[HearingDone | HearingProblem] = asyncio.get_running_loop().create_future()

    def on_event(event: HearingEvent) -> None:
        tell(event)
        if isinstance(event, HearingDone | HearingProblem):
            end.set_result(event)

    patient = replace(limits, stream=replace(limits.stream, queue_wait_s=limits.stream.file_wait_s))
    hearing = Hearing(recogniser, patient, settings, on_event)
    try:
        async for piece in pieces:
            await hearing.room()
            if end.done():
                break
            hearing.hear(piece)
        hearing.finish()
        last = await end
    finally:
        hearing.close()
    if isinstance(last, HearingProblem):
        raise last.error
    return last
