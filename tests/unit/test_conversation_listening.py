"""The rules between the gateway and a worker that listens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_conversation import HELLO, LOAD, READY, Link, make_move, refusal, say, talked
from voice_server.wire.conversation import Conversation, Side
from voice_server.wire.messages import (
    STT,
    Audio,
    Cancel,
    Cancelled,
    Done,
    Failed,
    Finish,
    Hear,
    Listen,
    Message,
    Ready,
    Render,
    Text,
)

LISTENS = Ready(16000, 2, [], kind=STT, languages=["en"])
PCM = b"\x01\x00"


def text(render_id: int, index: int, heard: int = 0) -> Text:
    return Text(render_id, index, heard, " word", 0.0, 1.0, 1.0)


def listening(*messages: Message, side: Side = Side.GATEWAY) -> Conversation:
    return talked(HELLO, LOAD, LISTENS, Listen(1), *messages, side=side)


BROKEN_BY_GATEWAY: list[tuple[list[Message], Message]] = [
    ([], Render(2, "x", "")),
    ([], Hear(1, 1, PCM)),
    ([Hear(1, 0, PCM)], Hear(1, 0, PCM)),
    ([], Hear(1, 0, b"")),
    ([], Hear(1, 0, b"\x01")),
    ([Finish(1)], Hear(1, 0, PCM)),
    ([Finish(1)], Finish(1)),
    ([Cancel(1)], Hear(1, 0, PCM)),
    ([Cancel(1)], Finish(1)),
    ([], Listen(1)),
    ([Listen(2)], Listen(3)),
]
BROKEN_BY_WORKER: list[tuple[list[Message], Message]] = [
    ([], Audio(1, 0, PCM)),
    ([], text(1, 1)),
    ([], text(2, 0)),
    ([Hear(1, 0, PCM)], text(1, 0, heard=2)),
    ([], Done(1, 0)),
    ([Finish(1)], Done(1, 1)),
    ([], Cancelled(1)),
]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("before", "message"), BROKEN_BY_GATEWAY)
def test_the_gateway_may_not_break_these(before: list[Message], message: Message, side: Side) -> None:
    conversation = listening(*before, side=side)
    with refusal(side, message):
        say(conversation, message)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("before", "message"), BROKEN_BY_WORKER)
def test_a_worker_may_not_break_these(before: list[Message], message: Message, side: Side) -> None:
    conversation = listening(*before, side=side)
    with refusal(side, message):
        say(conversation, message)


@pytest.mark.parametrize("message", [Listen(1), Hear(1, 0, PCM)])
def test_a_worker_that_speaks_is_not_asked_to_listen(message: Message) -> None:
    with refusal(Side.GATEWAY, message):
        say(talked(HELLO, LOAD, READY, Render(1, "x", "a")), message)


def test_a_kind_of_worker_that_there_is_not_is_refused() -> None:
    ready = Ready(16000, 1, [], kind="ocr")
    with refusal(Side.GATEWAY, ready):
        talked(HELLO, LOAD, ready)


@pytest.mark.parametrize("message", [Hear(1, 0, PCM), Finish(1), Cancel(1)])
def test_what_reaches_a_worker_after_the_end_of_a_hearing_crossed_it(message: Message) -> None:
    ended = listening(Failed(1, "render_failed", "x"), side=Side.WORKER)
    say(ended, message)
    assert not ended.open_renders


def test_text_that_is_wanted_is_passed_on_however_long_the_hearing() -> None:
    conversation = listening()
    for index in range(3):
        say(conversation, Hear(1, index, PCM))
        told = text(1, index, heard=index + 1)
        assert conversation.worker_says(told) is told


def test_text_of_a_cancelled_hearing_is_dropped() -> None:
    conversation = listening(Cancel(1))
    assert conversation.worker_says(text(1, 0)) is None


HEARING: list[Message] = [
    *(Listen(1), Listen(2), Hear(1, 0, PCM), Hear(1, 1, PCM), Hear(2, 0, PCM), Finish(1), Finish(2), Cancel(1)),
    *(text(1, 0), text(1, 1), text(1, 1, heard=1), text(2, 0, heard=1), Done(1, 0), Done(1, 1), Done(2, 1)),
    *(Cancelled(1), Failed(1, "render_failed", "x"), Failed(2, "render_failed", "x")),
]


@given(
    st.lists(
        st.one_of(st.sampled_from(["deliver to worker", "deliver to gateway"]), st.sampled_from(HEARING)), max_size=40
    )
)
def test_two_sides_that_keep_the_rules_never_disagree_however_slow_the_link(moves: list[str | Message]) -> None:
    link, pasts = Link(), {Side.GATEWAY: [LOAD, HELLO, LISTENS], Side.WORKER: [HELLO, LOAD, LISTENS]}
    for message in (LOAD, HELLO, LISTENS):
        (link.gateway_sends if message is LOAD else link.worker_sends)(message)
        link.settle()
    for move in moves:
        make_move(link, pasts, move)
    link.settle()
    assert link.gateway.state is link.worker.state
    assert link.gateway.open_renders == link.worker.open_renders
