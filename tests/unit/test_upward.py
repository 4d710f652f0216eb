"""Where frames end, and that what is said in a worker's name never lands within one of its own."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.pool.cluster.upward import Edges, Upward
from voice_server.wire.frames import FrameDecoder, encode
from voice_server.wire.messages import Audio, Cancelled, Hello, Message, Pong, Progress

pytestmark = pytest.mark.anyio

HELLO = Hello(1, 1, "3.11")
WORDS: list[Message] = [HELLO, Progress("x"), Audio(1, 0, bytes(2000)), Pong(1), Audio(1, 1, bytes(70_000)), Pong(2)]
STREAM = b"".join(map(encode, WORDS))
ENDS = [len(b"".join(map(encode, WORDS[:count]))) for count in range(1, len(WORDS) + 1)]


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_the_ends_of_frames_are_found_however_the_stream_is_cut(cuts: list[int]) -> None:
    edges = Edges()
    for begin, end in pairwise([0, *sorted(cuts), len(STREAM)]):
        expected = max((at - begin for at in ENDS if begin < at <= end), default=0)
        assert edges.last_in(STREAM[begin:end]) == expected
        assert edges.is_between == (end in (0, *ENDS))


class Gateway:
    def __init__(self) -> None:
        self.heard: list[Message] = []
        self._decoder = FrameDecoder()

    async def send(self, data: bytes) -> None:
        await asyncio.sleep(0)
        self.heard += self._decoder.feed(data)


@pytest.mark.parametrize("size", [1, 3, 1000, 50_000, len(STREAM)])
async def test_what_is_said_in_its_name_comes_between_its_own_frames_in_order(size: int) -> None:
    gateway = Gateway()
    upward = Upward(gateway.send)
    for number, begin in enumerate(range(0, len(STREAM), size)):
        if number < 10:
            upward.say(Cancelled(number))
            await asyncio.sleep(0)
        await upward.carry(STREAM[begin : begin + size])
    said = min(10, -(-len(STREAM) // size))
    assert [message for message in gateway.heard if not isinstance(message, Cancelled)] == WORDS
    assert [message for message in gateway.heard if isinstance(message, Cancelled)] == [*map(Cancelled, range(said))]


async def test_the_first_words_are_the_workers_own() -> None:
    gateway = Gateway()
    upward = Upward(gateway.send)
    upward.say(Cancelled(7))
    await asyncio.sleep(0)
    assert gateway.heard == []
    await upward.carry(encode(HELLO))
    assert gateway.heard == [HELLO, Cancelled(7)]


async def test_nobody_waits_for_a_worker_that_is_silent_between_frames() -> None:
    gateway = Gateway()
    upward = Upward(gateway.send)
    await upward.carry(encode(HELLO))
    upward.say(Cancelled(7))
    await asyncio.sleep(0.01)
    assert gateway.heard == [HELLO, Cancelled(7)]


async def test_a_frame_of_no_length_is_passed_on_for_the_gateway_to_judge() -> None:
    edges = Edges()
    assert edges.last_in(bytes(4)) == 4 and edges.is_between
