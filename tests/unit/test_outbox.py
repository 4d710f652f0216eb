from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness import TIMEOUT_S, eventually
from voice_server.core.errors import BadMessage, SlowClient
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    FormatChanged,
    Problem,
    SentenceAccepted,
    SentenceEnded,
    SentenceQueued,
    SentenceRendering,
    SentenceResumed,
    SentenceStarted,
    StreamReady,
    Told,
)
from voice_server.core.limits import StreamLimits
from voice_server.stream.outbox import Outbox

pytestmark = pytest.mark.anyio

LIMITS = replace(StreamLimits(), coalesce_bytes=10)
READY, STARTED, DONE, CANCELLED = (
    StreamReady("b", "v", 24_000),
    SentenceStarted(0, "x"),
    AnswerDone(),
    AnswerCancelled(),
)
OF_AN_ANSWER: list[Event] = [
    SentenceAccepted(0, "x"),
    SentenceQueued(1, "busy"),
    SentenceRendering(0, "x", 0, "w"),
    STARTED,
    AudioChunk(0, b"ab"),
    SentenceEnded(0, 1.0),
    SentenceResumed(0, exact=True),
    Problem(BadMessage("x")),
]
TO_KEEP: list[Event] = [READY, FormatChanged(8_000), DONE, CANCELLED]


class Client:
    """A socket that takes what it is offered as long as it `reads`."""

    def __init__(self) -> None:
        self.offered: list[Event] = []
        self.taken: list[Event] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, event: Event) -> None:
        self.offered.append(event)
        await self.reads.wait()
        self.taken.append(event)


def is_done(event: Event) -> bool:
    return isinstance(event, AnswerDone)


async def sent(*events: Event, limits: StreamLimits = LIMITS) -> list[Event]:
    """What a client takes of these events, which all waited."""
    outbox, client = Outbox(limits), Client()
    outbox.put(*events, DONE)
    await asyncio.wait_for(outbox.run(client.send, is_done), TIMEOUT_S)
    return client.taken[:-1]


def stuck_client(outbox: Outbox) -> tuple[Client, asyncio.Task[Event | None]]:
    """A client that takes nothing until it `reads`."""
    client = Client()
    client.reads.clear()
    return client, asyncio.create_task(outbox.run(client.send, is_done))


async def test_events_are_sent_in_order() -> None:
    assert await sent(*OF_AN_ANSWER, *OF_AN_ANSWER) == OF_AN_ANSWER * 2


async def test_the_last_event_ends_the_run_and_is_returned() -> None:
    outbox, client = Outbox(LIMITS), Client()
    outbox.put(STARTED, DONE, READY)
    assert await outbox.run(client.send, is_done) is DONE
    assert client.taken == [STARTED, DONE]


async def test_an_event_that_comes_later_is_sent_too() -> None:
    outbox, client = Outbox(LIMITS), Client()
    running = asyncio.create_task(outbox.run(client.send, is_done))
    outbox.put(STARTED)
    await eventually(lambda: client.taken == [STARTED], "the event is sent")
    outbox.put(DONE)
    assert await asyncio.wait_for(running, TIMEOUT_S) is DONE


# Audio that waited


async def test_chunks_of_a_sentence_that_waited_are_sent_together() -> None:
    assert await sent(AudioChunk(0, b"ab"), AudioChunk(0, b"cd")) == [AudioChunk(0, b"abcd")]


async def test_chunks_of_two_sentences_are_not() -> None:
    chunks: list[Event] = [AudioChunk(0, b"ab"), AudioChunk(1, b"cd")]
    assert await sent(*chunks) == chunks


async def test_nothing_is_sent_ahead_of_an_event_between_two_chunks() -> None:
    events: list[Event] = [AudioChunk(0, b"ab"), SentenceResumed(0, exact=True), AudioChunk(0, b"cd")]
    assert await sent(*events) == events


async def test_no_chunk_is_added_to_a_message_that_is_long_enough() -> None:
    taken = await sent(*[AudioChunk(0, b"abcd")] * 7)
    assert [len(event.pcm) for event in taken if isinstance(event, AudioChunk)] == [12, 12, 4]


async def test_a_chunk_that_is_longer_than_a_message_should_be_is_sent_whole() -> None:
    assert await sent(AudioChunk(0, b"x" * 50)) == [AudioChunk(0, b"x" * 50)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.binary(min_size=2, max_size=20))))
def test_every_byte_is_sent_once_and_in_order(chunks: list[tuple[int, bytes]]) -> None:
    taken = asyncio.run(sent(*(AudioChunk(index, pcm) for index, pcm in chunks)))
    audio = [(event.index, byte) for event in taken if isinstance(event, AudioChunk) for byte in event.pcm]
    assert audio == [(index, byte) for index, pcm in chunks for byte in pcm]


async def test_delivery_is_told_when_the_socket_has_taken_it() -> None:
    outbox, delivered = Outbox(LIMITS), list[Event]()
    outbox.on_delivered = delivered.append
    client, running = stuck_client(outbox)
    outbox.put(AudioChunk(0, b"abcd"), AudioChunk(1, b"ef"), DONE)
    assert outbox.waiting_bytes == 6
    await eventually(lambda: client.offered != [], "the first chunk is under way")
    assert outbox.waiting_bytes == 2
    assert delivered == []
    client.reads.set()
    await asyncio.wait_for(running, TIMEOUT_S)
    assert delivered == [AudioChunk(0, b"abcd"), AudioChunk(1, b"ef"), DONE]
    assert outbox.waiting_bytes == 0


# The short cut past the writer


class Socket:
    """Takes audio at once, as long as it has room."""

    def __init__(self, *, has_room: bool = True) -> None:
        self.taken: list[bytes] = []
        self._has_room = has_room

    def send(self, chunk: AudioChunk) -> bool:
        if self._has_room:
            self.taken.append(chunk.pcm)
        return self._has_room


async def short_cut(*before: Event, has_room: bool = True) -> tuple[list[bytes], list[int], list[Event]]:
    """What went the short cut, was told as delivered, and went the long way, of one chunk after these events."""
    outbox, client, socket, delivered = Outbox(LIMITS), Client(), Socket(has_room=has_room), list[Event]()
    outbox.on_delivered = delivered.append
    outbox.send_at_once = socket.send
    running = asyncio.create_task(outbox.run(client.send, is_done))
    await asyncio.sleep(0)
    for event in before:
        outbox.put(event)
    outbox.put(AudioChunk(0, b"ab"))
    outbox.put(DONE)
    await asyncio.wait_for(running, TIMEOUT_S)
    told = [len(event.pcm) for event in delivered if isinstance(event, AudioChunk)]
    return socket.taken, told, client.taken


async def test_audio_goes_at_once_when_nothing_waits() -> None:
    assert await short_cut() == ([b"ab"], [2], [DONE])


async def test_audio_does_not_overtake_what_waits() -> None:
    assert await short_cut(STARTED) == ([], [2], [STARTED, AudioChunk(0, b"ab"), DONE])


async def test_audio_that_the_socket_does_not_take_at_once_goes_the_long_way() -> None:
    assert await short_cut(has_room=False) == ([], [2], [AudioChunk(0, b"ab"), DONE])


async def test_audio_does_not_overtake_the_message_under_way() -> None:
    outbox, socket = Outbox(LIMITS), Socket()
    outbox.send_at_once = socket.send
    client, running = stuck_client(outbox)
    outbox.put(STARTED)
    await eventually(lambda: client.offered == [STARTED], "the first event is under way")
    outbox.put(AudioChunk(0, b"ab"))
    outbox.put(DONE)
    client.reads.set()
    await asyncio.wait_for(running, TIMEOUT_S)
    assert (socket.taken, client.taken) == ([], [STARTED, AudioChunk(0, b"ab"), DONE])


# Barge-in


async def test_a_barge_in_drops_all_that_belongs_to_the_answer() -> None:
    outbox, client = Outbox(LIMITS), Client()
    outbox.put(*OF_AN_ANSWER)
    outbox.drop_answer()
    assert outbox.waiting_bytes == 0
    outbox.put(CANCELLED)
    await outbox.run(client.send, lambda event: event is CANCELLED)
    assert client.taken == [CANCELLED]


async def test_a_barge_in_keeps_what_belongs_to_the_session() -> None:
    outbox, client = Outbox(LIMITS), Client()
    outbox.put(*TO_KEEP)
    outbox.drop_answer()
    await outbox.run(client.send, lambda event: event is TO_KEEP[-1])
    assert client.taken == TO_KEEP


async def test_after_a_barge_in_only_the_message_under_way_still_arrives() -> None:
    outbox = Outbox(LIMITS)
    client, running = stuck_client(outbox)
    outbox.put(STARTED, AudioChunk(0, b"ab"), SentenceEnded(0, 1.0))
    await eventually(lambda: client.offered == [STARTED], "the first event is under way")
    outbox.drop_answer()
    outbox.put(CANCELLED, DONE)
    client.reads.set()
    await asyncio.wait_for(running, TIMEOUT_S)
    assert client.taken == [STARTED, CANCELLED, DONE]


# Ends


async def test_a_client_that_takes_nothing_is_slow_after_the_limit_and_not_before() -> None:
    outbox, began = Outbox(replace(LIMITS, send_s=0.2)), time.monotonic()
    _, running = stuck_client(outbox)
    outbox.put(AudioChunk(0, b"ab"))
    with pytest.raises(SlowClient):
        await asyncio.wait_for(running, TIMEOUT_S)
    assert time.monotonic() - began >= 0.2


async def test_a_client_that_takes_one_event_after_the_other_is_not_slow() -> None:
    outbox, loop, taken = Outbox(replace(LIMITS, send_s=0.3)), asyncio.get_running_loop(), list[Event]()

    async def send(event: Event) -> None:
        takes_it = loop.create_future()
        loop.call_later(0.1, takes_it.set_result, None)
        await takes_it
        taken.append(event)

    outbox.put(*[STARTED] * 5, DONE)  # twice the limit for all of them
    assert await asyncio.wait_for(outbox.run(send, is_done), TIMEOUT_S) is DONE
    assert len(taken) == 6


async def test_a_client_is_not_slow_while_there_is_nothing_to_send() -> None:
    outbox, client, loop = Outbox(replace(LIMITS, send_s=0.05)), Client(), asyncio.get_running_loop()
    outbox.put(STARTED)
    loop.call_later(0.2, outbox.put, DONE)
    assert await asyncio.wait_for(outbox.run(client.send, is_done), TIMEOUT_S) is DONE


async def test_a_run_that_is_cancelled_is_cancelled() -> None:
    outbox = Outbox(LIMITS)
    client, running = stuck_client(outbox)
    outbox.put(STARTED)
    await eventually(lambda: client.offered == [STARTED], "the event is under way")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_an_error_of_the_socket_goes_through() -> None:
    outbox = Outbox(LIMITS)
    outbox.put(STARTED)

    async def broken(event: Event) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await outbox.run(broken, is_done)


def put_nothing(outbox: Outbox) -> None:
    """The run waits for events."""


def put_audio(outbox: Outbox) -> None:
    """The run has events to send."""
    outbox.put(STARTED, AudioChunk(0, b"ab"))


@pytest.mark.parametrize("put", [put_nothing, put_audio])
async def test_close_ends_the_run_and_nothing_more_is_sent(put: Callable[[Outbox], None]) -> None:
    outbox, client = Outbox(LIMITS), Client()
    running = asyncio.create_task(outbox.run(client.send, is_done))
    put(outbox)
    outbox.close()
    assert await asyncio.wait_for(running, TIMEOUT_S) is None
    assert client.taken == []


# Somebody comes back


async def interrupted(*events: Event) -> Outbox:
    """Of a client that left before it took anything of these."""
    outbox, client = Outbox(LIMITS), Client()
    outbox.put(*events)
    outbox.close()
    assert await outbox.run(client.send, is_done) is None
    return outbox


async def taken_of(outbox: Outbox) -> list[Event]:
    client = Client()
    await asyncio.wait_for(outbox.run(client.send, is_done), TIMEOUT_S)
    return client.taken


async def test_what_waited_is_sent_to_who_comes_back_behind_what_it_lacks() -> None:
    outbox, again = await interrupted(STARTED, DONE), Told(SentenceAccepted(0, "x"), "again")
    outbox.reopen(READY, again)
    assert await taken_of(outbox) == [READY, again, STARTED, DONE]


async def test_a_greeting_that_never_left_is_not_sent_to_the_next_one() -> None:
    outbox = await interrupted(READY, STARTED, DONE)
    outbox.reopen(READY)
    assert await taken_of(outbox) == [READY, STARTED, DONE]


async def test_a_barge_in_drops_what_was_to_be_sent_again_but_the_ends_of_other_answers() -> None:
    outbox = await interrupted()
    chunk, end = AudioChunk(0, b"ab"), Told(FormatChanged(8_000), "format")
    outbox.reopen(READY, Told(chunk, chunk.pcm), end)
    outbox.drop_answer()
    outbox.put(DONE)
    assert await taken_of(outbox) == [READY, end, DONE]
