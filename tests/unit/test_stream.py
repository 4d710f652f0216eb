"""A stream without a door: calls in, events out, over a real pool of tone workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness import FAST, TIMEOUT_S, running_pool, tone_bytes, tone_config
from voice_server.core.errors import BadMessage, BadOption, TextTooLong
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    SentenceAccepted,
    SentenceRendering,
    SentenceResumed,
)
from voice_server.core.limits import Limits, TextLimits
from voice_server.core.pcm import Resampler
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "The quick brown fox jumps over the lazy dog. "


class Talk:
    """A stream and what its client took so far."""

    def __init__(self, stream: Stream, outbox: Outbox) -> None:
        self.stream = stream
        self._outbox = outbox

    async def answer(self) -> list[Event]:
        """The events up to the answer's last one."""
        taken: list[Event] = []

        async def send(event: Event) -> None:
            taken.append(event)

        running = self._outbox.run(send, lambda event: isinstance(event, AnswerDone | AnswerCancelled))
        await asyncio.wait_for(running, TIMEOUT_S)
        return taken


@asynccontextmanager
async def talking(python: Path, *, sample_rate: int = 0, limits: Limits = FAST) -> AsyncIterator[Talk]:
    async with running_pool(tone_config(), python, limits=limits) as backend:
        outbox = Outbox(limits.stream)
        stream = Stream(backend, outbox, limits, StreamSettings(sample_rate=sample_rate))
        try:
            yield Talk(stream, outbox)
        finally:
            stream.close()


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
