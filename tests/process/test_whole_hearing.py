"""Audio that is there already, as text; the engine is `pitch`, in a real worker process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import FAST, eventually
from tests.process.hearing_driver import RATE, beeps, listening, pitch_config, words
from voice_server.core.errors import HearingFailed, Overloaded
from voice_server.core.text.hearing import HearingDone, TextHeard
from voice_server.stream.hearing import HearingSettings
from voice_server.stream.whole_hearing import heard, heard_whole, in_pieces, patient

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SETTINGS = HearingSettings(RATE)
TUNE = (440, 880, 1320, 660)


async def test_more_audio_than_may_wait_is_heard_to_its_end(tone_python: Path) -> None:
    tune = TUNE * 40  # 80 s; 30 may wait
    async with listening(tone_python, pitch_config()) as recogniser:
        done = await heard_whole(recogniser, FAST, SETTINGS, in_pieces(beeps(*tune), RATE))
    assert done.text == words(*tune)
    assert done.duration_s == pytest.approx(80.0)


async def test_text_is_told_while_the_rest_is_heard(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config()) as recogniser:
        pieces = in_pieces(beeps(*TUNE), RATE)
        *told, last = [event async for event in heard(recogniser, FAST, SETTINGS, pieces)]
    assert any(isinstance(event, TextHeard) and event.text == words(*TUNE[:2]) for event in told)
    assert isinstance(last, HearingDone)


async def test_what_cannot_be_heard_is_raised(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config(fault="raise@0")) as recogniser:
        with pytest.raises(HearingFailed):
            await heard_whole(recogniser, FAST, SETTINGS, in_pieces(beeps(*TUNE), RATE))


async def test_it_waits_longer_for_a_seat_than_a_listener(tone_python: Path) -> None:
    hasty = replace(FAST, stream=replace(FAST.stream, queue_wait_s=0.0, file_wait_s=0.2))
    async with listening(tone_python, pitch_config(capacity=1)) as recogniser:
        seated = asyncio.create_task(heard_whole(recogniser, FAST, SETTINGS, _for_ever()))
        await eventually(lambda: recogniser.pool.slots[0].open_renders == 1, "the seat is taken")
        began = asyncio.get_running_loop().time()
        with pytest.raises(Overloaded):
            await heard_whole(recogniser, patient(hasty), SETTINGS, in_pieces(beeps(*TUNE), RATE))
        assert asyncio.get_running_loop().time() - began >= 0.2
        seated.cancel()
        await asyncio.gather(seated, return_exceptions=True)


async def test_who_does_not_wait_for_the_text_frees_the_seat(tone_python: Path) -> None:
    async with listening(tone_python, pitch_config(capacity=1)) as recogniser:
        hearing = asyncio.create_task(heard_whole(recogniser, FAST, SETTINGS, _for_ever()))
        await eventually(lambda: recogniser.pool.slots[0].open_renders == 1, "the seat is taken")
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        done = await heard_whole(recogniser, FAST, SETTINGS, in_pieces(beeps(*TUNE), RATE))
    assert done.text == words(*TUNE)


async def _for_ever() -> AsyncIterator[bytes]:
    yield beeps(440)
    await asyncio.Event().wait()
