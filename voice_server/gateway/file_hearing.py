"""A whole file of sound on its way to become text: decoded piece by piece, while it is heard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from voice_server.core.limits import Limits
from voice_server.core.text.hearing import HearingDone, TextHeard
from voice_server.pool.decoding import decoded
from voice_server.stream import whole_hearing
from voice_server.stream.hearing import HearingSettings
from voice_server.stream.recogniser import Recogniser


async def heard(
    recogniser: Recogniser, limits: Limits, sound: bytes, options: Mapping[str, Any]
) -> AsyncGenerator[TextHeard | HearingDone, None]:
    """What a sound says, while it is heard, and at last all of it. Close the generator when nobody waits any more.

    The recogniser is ready. Raises what is wrong with the sound (UnknownFormat, AudioTooLong) or the options, and what
    came in the way.
    """
    rate = recogniser.sample_rate
    assert rate is not None
    async with decoded(sound, rate, limits.transcriptions) as pieces:
        settings = HearingSettings(rate, dict(options))
        async with aclosing(whole_hearing.heard(recogniser, limits, settings, pieces)) as events:
            async for event in events:
                yield event


async def heard_whole(recogniser: Recogniser, limits: Limits, sound: bytes, options: Mapping[str, Any]) -> HearingDone:
    """Raises what `heard` raises."""
    async with aclosing(heard(recogniser, limits, sound, options)) as events:
        async for event in events:
            if isinstance(event, HearingDone):
                return event
    raise AssertionError("a hearing ends with its text, or with a problem")
