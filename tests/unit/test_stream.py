"""A stream without a door: calls in, events out, over a real pool of tone workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.harness import FAST, TIMEOUT_S, eventually, running_pool, tone_bytes, tone_config
from voice_server.core.audio.pcm import AUDIBLE, Resampler, byte_count
from voice_server.core.errors import BadMessage, BadOption, TextTooLong
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    Problem,
    SentenceAccepted,
    SentenceEnded,
    SentenceQueued,
    SentenceRendering,
    SentenceResumed,
    SentenceStarted,
)
from voice_server.core.limits import Limits, TextLimits
from voice_server.core.settings import BackendConfig
from voice_server.stream.backend import Backend
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "The quick brown fox jumps over the lazy dog. "


class Talk:
    """A stream and what its client took so far."""

    def __init__(self, backend: Backend, limits: Limits = FAST, **settings: Any) -> None:
        self._outbox = Outbox(limits.stream)
        self.stream = Stream(backend, self._outbox, limits, StreamSettings(**settings))
        self.taken: list[Event] = []

    async def answer(self) -> list[Event]:
        """The events up to the answer's last one."""
        return await self.until(AnswerDone, AnswerCancelled)

    async def until(self, *kinds: type[Event]) -> list[Event]:
        self.taken = []

        async def send(event: Event) -> None:
            self.taken.append(event)

        await asyncio.wait_for(self._outbox.run(send, lambda event: isinstance(event, kinds)), TIMEOUT_S)
        return self.taken


@asynccontextmanager
async def talking(
    python: Path,
    *,
    sample_rate: int = 0,
    limits: Limits = FAST,
    config: BackendConfig | None = None,
    live: bool = True,
) -> AsyncIterator[Talk]:
    async with running_pool(config or tone_config(), python, limits=limits) as backend:
        talk = Talk(backend, limits, live=live, sample_rate=sample_rate)
        try:
            yield talk
        finally:
            talk.stream.close()


def heard(events: list[Event]) -> bytes:
    return b"".join(event.pcm for event in events if isinstance(event, AudioChunk))


def indexes(events: list[Event]) -> list[int]:
    return [event.index for event in events if isinstance(event, SentenceAccepted)]


async def test_sentences_are_numbered_anew_in_each_answer(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        for _ in range(2):
            talk.stream.push(TEXT * 2)
            talk.stream.finish()
            events = await talk.answer()
            assert indexes(events) == [0, 1]
            assert heard(events) == tone_bytes(TEXT.strip()) * 2


async def test_an_answer_without_text_is_done(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.finish()
        assert await talk.answer() == [AnswerDone()]


async def test_a_sentence_that_was_resumed_at_another_rate_is_exact(tone_python: Path, tmp_path: Path) -> None:
    resampler = Resampler(24_000, 16_000)
    whole = resampler.push(tone_bytes(TEXT.strip())) + resampler.flush()
    async with talking(tone_python, sample_rate=16_000) as talk:
        talk.stream.set_options({"fault": f"once={tmp_path}/struck;die@5"})
        talk.stream.push(TEXT)
        talk.stream.finish()
        events = await talk.answer()
    assert SentenceResumed(0, exact=True) in events
    assert heard(events) == whole


async def test_what_is_said_after_finish_is_the_next_answer(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.push("One. ")
        talk.stream.finish()
        talk.stream.push("Two. ")
        talk.stream.finish()
        assert [heard(await talk.answer()) for _ in range(2)] == [tone_bytes("One."), tone_bytes("Two.")]


async def test_nothing_of_a_cancelled_answer_comes_after_the_word_that_it_was(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.push(TEXT * 20)
        talk.stream.cancel()
        assert await talk.answer() == [AnswerCancelled()]
        talk.stream.push("Next. ")
        talk.stream.finish()
        events = await talk.answer()
    assert indexes(events) == [0]
    assert heard(events) == tone_bytes("Next.")


async def test_options_count_for_sentences_that_have_not_started_to_render(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.push("One. ")
        talk.stream.flush()
        talk.stream.set_options({"speed": 2.0})
        talk.stream.push("Two. ")
        talk.stream.finish()
        events = await talk.answer()
    assert heard(events) == tone_bytes("One.") + tone_bytes("Two.", speed=2.0)


async def test_an_option_that_is_refused_leaves_the_options_before_it(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.set_options({"speed": 2.0})
        with pytest.raises(BadOption):
            talk.stream.set_options({"speed": 99.0})
        talk.stream.push("One.")
        talk.stream.finish()
        assert heard(await talk.answer()) == tone_bytes("One.", speed=2.0)


async def test_text_that_is_too_long_leaves_the_answer_as_it_was(tone_python: Path) -> None:
    limits = Limits(text=TextLimits(stream_chars=20), stream=FAST.stream, worker=FAST.worker)
    async with talking(tone_python, limits=limits) as talk:
        talk.stream.push("One. ")
        with pytest.raises(TextTooLong):
            talk.stream.push("x" * 16)
        talk.stream.push("Two.")
        talk.stream.finish()
        assert heard(await talk.answer()) == tone_bytes("One.", "Two.")


async def test_the_sample_rate_changes_between_answers_only(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.push(TEXT)
        with pytest.raises(BadMessage):
            talk.stream.set_sample_rate(16_000)
        talk.stream.cancel()
        talk.stream.set_sample_rate(16_000)
        assert talk.stream.sample_rate == 16_000


async def test_every_sentence_tells_when_it_starts_to_render_in_order(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.push(TEXT * 5)
        talk.stream.finish()
        events = await talk.answer()
    assert [event.index for event in events if isinstance(event, SentenceRendering)] == list(range(5))


# Silence

HUSHED = """
import numpy as np
from voice_server.backends.tone import ToneBackend

SILENCE = np.zeros(2400, np.float32)


class Hushed(ToneBackend):
    def render(self, text, voice, **options):
        yield SILENCE
        if "Hush" in text:
            for _ in range(int(12 * self.sample_rate / len(SILENCE))):
                yield SILENCE
        else:
            yield from super().render(text, voice, **options)
        yield SILENCE
"""
PAUSE_S = 0.25
MARGIN = bytes(2 * 480)


def hushed(tmp_path: Path) -> BackendConfig:
    """An engine with 0.1 s of silence before and after each sentence; those that say so are silent for 12 s."""
    (tmp_path / "hushed.py").write_text(HUSHED)
    adapter = f"{tmp_path}/hushed.py:Hushed"
    return replace(tone_config(), adapter=adapter, trim_silence=True, pause_s=PAUSE_S)


def left_of(text: str) -> bytes:
    """What trimming leaves of a sentence of this engine."""
    spoken = np.frombuffer(tone_bytes(text), "<i2")
    assert abs(int(spoken[0])) > AUDIBLE < abs(int(spoken[-1]))
    return MARGIN + spoken.tobytes() + MARGIN


async def test_silence_is_trimmed_and_a_pause_put_between_sentences(tone_python: Path, tmp_path: Path) -> None:
    async with talking(tone_python, config=hushed(tmp_path)) as talk:
        talk.stream.push(TEXT * 2)
        talk.stream.finish()
        events = await talk.answer()
    spoken, pause = left_of(TEXT.strip()), bytes(byte_count(PAUSE_S, 24_000))
    assert heard(events) == spoken + pause + spoken
    lengths = [event.duration_s for event in events if isinstance(event, SentenceEnded)]
    assert lengths == [len(spoken) / 48_000, (len(pause) + len(spoken)) / 48_000]


async def test_a_trimmed_sentence_that_was_resumed_is_exact(tone_python: Path, tmp_path: Path) -> None:
    async with talking(tone_python, config=hushed(tmp_path)) as talk:
        talk.stream.set_options({"fault": f"once={tmp_path}/struck;die@5"})
        talk.stream.push(TEXT)
        talk.stream.finish()
        events = await talk.answer()
    assert SentenceResumed(0, exact=True) in events
    assert heard(events) == left_of(TEXT.strip())


async def test_a_sentence_that_is_meant_to_be_silent_is_passed_over(tone_python: Path, tmp_path: Path) -> None:
    """However long it is: nobody hears it, so nobody may be thought to be still hearing it."""
    silent = "Hush " * 20 + "now. "
    async with talking(tone_python, config=replace(hushed(tmp_path), guard=False)) as talk:
        talk.stream.push(silent + TEXT)
        talk.stream.finish()
        events = await talk.answer()
    assert not [event for event in events if isinstance(event, Problem)]
    assert [event.index for event in events if isinstance(event, SentenceStarted)] == [1]
    assert heard(events) == left_of(TEXT.strip())


async def test_an_engine_that_is_silent_for_ever_is_stopped(tone_python: Path, tmp_path: Path) -> None:
    async with talking(tone_python, config=hushed(tmp_path)) as talk:
        talk.stream.push("Hush.")
        talk.stream.finish()
        events = await talk.answer()
    assert [event.error.code for event in events if isinstance(event, Problem)] == ["runaway"]


# The first clause

CLAUSE, REST = "I think that we should leave,", "before it begins to rain again."
EAGER = replace(tone_config(), eager_clause=True)


def accepted(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, SentenceAccepted)]


@pytest.mark.parametrize(
    "tokens", [[f"{CLAUSE} ", REST], [f"{CLAUSE} {REST} ", "Yes."], [f"{CLAUSE} {REST}"]], ids=["open", "whole", "last"]
)
async def test_the_first_clause_of_an_answer_goes_ahead_while_a_worker_is_idle(
    tone_python: Path, tokens: list[str]
) -> None:
    async with talking(tone_python, config=EAGER) as talk:
        for token in tokens:
            talk.stream.push(token)
        talk.stream.finish()
        events = await talk.answer()
    assert accepted(events)[:2] == [CLAUSE, REST]
    assert heard(events)[: len(tone_bytes(CLAUSE, REST))] == tone_bytes(CLAUSE, REST)


async def test_only_an_answers_first_sentence_is_hurried(tone_python: Path) -> None:
    async with talking(tone_python, config=EAGER) as talk:
        for _ in range(2):
            talk.stream.push("Yes. ")
            assert (await talk.until(SentenceEnded))[0] == SentenceAccepted(0, "Yes.")
            talk.stream.push(f"{CLAUSE} ")
            talk.stream.push(REST)
            talk.stream.finish()
            assert accepted(await talk.answer()) == [f"{CLAUSE} {REST}"]


@pytest.mark.parametrize(("is_eager", "live"), [(False, True), (True, False)], ids=["not switched on", "a file"])
async def test_a_sentence_stays_whole_where_nobody_wants_it_hurried(
    tone_python: Path, is_eager: bool, live: bool
) -> None:
    async with talking(tone_python, config=replace(EAGER, eager_clause=is_eager), live=live) as talk:
        talk.stream.push(f"{CLAUSE} ")
        talk.stream.push(REST)
        talk.stream.finish()
        assert accepted(await talk.answer()) == [f"{CLAUSE} {REST}"]


async def test_a_sentence_stays_whole_while_all_workers_are_busy(tone_python: Path) -> None:
    slow = replace(tone_config(speed_rtf=1.0), eager_clause=True)
    async with running_pool(slow, tone_python) as backend:
        busy, talk = Talk(backend), Talk(backend)
        busy.stream.push(TEXT * 2)
        talk.stream.push(f"{CLAUSE} ")
        talk.stream.push(f"{REST} ")
        talk.stream.flush()
        assert accepted(await talk.until(SentenceAccepted)) == [f"{CLAUSE} {REST}"]
        busy.stream.close()
        talk.stream.close()


# Tags


async def test_a_tag_that_the_engine_does_not_understand_is_named_and_not_spoken(tone_python: Path) -> None:
    async with talking(tone_python) as talk:
        talk.stream.push("Well [sigh] yes. [Laugh]")
        talk.stream.finish()
        events = await talk.answer()
    told = [event for event in events if isinstance(event, SentenceAccepted)]
    assert told == [
        SentenceAccepted(0, "Well [sigh] yes.", ("sigh",)),
        SentenceAccepted(1, "[Laugh]", ("laugh",), spoken=False),
    ]
    assert heard(events) == tone_bytes("Well yes.")


async def test_a_tag_that_the_engine_understands_reaches_it(tone_python: Path) -> None:
    async with talking(tone_python, config=replace(tone_config(), tags=("sigh",))) as talk:
        talk.stream.push("Well [SIGH] yes.")
        talk.stream.finish()
        events = await talk.answer()
    assert events[0] == SentenceAccepted(0, "Well [SIGH] yes.")
    assert heard(events) == tone_bytes("Well [sigh] yes.")


# In line


async def test_who_waits_is_told_when_the_place_has_changed(tone_python: Path) -> None:
    quick = replace(FAST, stream=replace(FAST.stream, queued_every_s=0.01))
    async with running_pool(tone_config(speed_rtf=1.0), tone_python, limits=quick) as backend:
        talks = [Talk(backend, quick) for _ in range(3)]
        for talk in talks:
            talk.stream.push(TEXT)
            talk.stream.finish()
        reading = asyncio.create_task(talks[2].answer())
        await eventually(lambda: places(talks[2]) == [2], "it is told its place")
        talks[1].stream.close()
        await eventually(lambda: places(talks[2]) == [2, 1], "it is told its new place")
        talks[0].stream.close()
        assert places_in(await reading) == [2, 1]
        talks[2].stream.close()


def places(talk: Talk) -> list[int]:
    return places_in(talk.taken)


def places_in(events: list[Event]) -> list[int]:
    told = [event.position for event in events if isinstance(event, SentenceQueued)]
    return [place for place, before in zip(told, [0, *told], strict=False) if place != before]


async def test_who_waits_is_told_how_long_and_again_when_that_has_clearly_changed(tone_python: Path) -> None:
    quick = replace(FAST, stream=replace(FAST.stream, queued_every_s=0.01))
    async with running_pool(tone_config(speed_rtf=0.4), tone_python, limits=quick) as backend:
        first, second = Talk(backend, quick), Talk(backend, quick)
        for until in (AnswerDone, SentenceRendering):  # the first answer is there to measure the speed
            first.stream.push(TEXT)
            first.stream.finish()
            await first.until(until)
        second.stream.push(TEXT)
        second.stream.finish()
        waits = [event.eta_s for event in await second.answer() if isinstance(event, SentenceQueued)]
        first.stream.close()
        second.stream.close()
    assert len(waits) > 1
    for before, after in pairwise(waits):
        assert before is not None and after is not None
        assert abs(after - before) > 0.2 * before
