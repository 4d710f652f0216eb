"""An answer that is pulled: its reader sets the pace. The engine is `tone`, in real worker processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import FAST, eventually, running_pool, tone_config
from voice_server.core.errors import BadOption, GoingAway
from voice_server.core.events import AudioChunk, Event, Problem
from voice_server.stream.backend import Backend
from voice_server.stream.speech import Speech
from voice_server.stream.stream import StreamSettings

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCE = "This is a sentence of an answer that somebody reads when it suits them, and they are slow. "
WAITING = FAST.text.pending_chars // len(SENTENCE)  # so many of them may wait


@pytest.fixture
async def backend(no_leaks: None, tone_python: Path) -> AsyncIterator[Backend]:
    async with running_pool(tone_config(workers=1), tone_python) as backend:
        yield backend


def is_idle(backend: Backend) -> bool:
    return not any(slot.open_renders for slot in backend.pool.slots)


async def until_audio(events: AsyncGenerator[Event, None]) -> None:
    async for event in events:
        if isinstance(event, AudioChunk):
            return
    raise AssertionError("there was no audio")


class Endless:
    """A model that does not come to its end."""

    def __init__(self) -> None:
        self.said = 0
        self.is_closed = False

    async def tokens(self) -> AsyncGenerator[str, None]:
        try:
            while True:
                self.said += 1
                yield SENTENCE
        finally:
            self.is_closed = True


async def test_who_does_not_read_stops_engine_and_model_and_may_read_on_later(backend: Backend) -> None:
    hasty = replace(FAST, stream=replace(FAST.stream, send_s=0.01))  # what a socket would be cut off for
    model = Endless()
    speech = Speech(backend, hasty, StreamSettings(), "", {})
    async with aclosing(speech.events(model.tokens())) as events:
        await until_audio(events)
        await eventually(lambda: model.said >= WAITING and is_idle(backend), "nothing is rendered any more")
        assert model.said < WAITING + 20
        for _ in range(10):
            await until_audio(events)


async def test_closing_an_answer_ends_its_stream_and_its_model(backend: Backend) -> None:
    model = Endless()
    tokens = model.tokens()  # held, lest the garbage collector closes it
    speech = Speech(backend, FAST, StreamSettings(), "", {})
    async with aclosing(speech.events(tokens)) as events:
        await until_audio(events)
        assert (len(backend.streams), model.is_closed) == (1, False)
    assert (len(backend.streams), model.is_closed) == (0, True)


async def test_who_ends_an_answer_has_the_last_word(backend: Backend) -> None:
    speech = Speech(backend, FAST, StreamSettings(), "", {})
    async with aclosing(speech.events(Endless().tokens())) as events:
        await until_audio(events)
        speech.end(GoingAway("that is all"))
        last = [event async for event in events][-1]
    assert isinstance(last, Problem)
    assert last.error.message == "that is all"


async def test_a_wrong_option_leaves_no_stream(backend: Backend) -> None:
    with pytest.raises(BadOption):
        Speech(backend, FAST, StreamSettings(), "", {"loudness": 3})
    await eventually(lambda: not backend.streams, "the stream is closed")
