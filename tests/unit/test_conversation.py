from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_server.wire.conversation import GATEWAY_MAY_SAY, WORKER_MAY_SAY, Conversation, Side, State
from voice_server.wire.messages import (
    PROTOCOL_VERSION,
    Audio,
    Cancel,
    Cancelled,
    Capacity,
    Deadline,
    Done,
    Failed,
    GatewayMessage,
    Hello,
    Load,
    LoadFailed,
    LocalError,
    Message,
    Ping,
    Pong,
    Progress,
    Ready,
    Render,
    Stop,
    WireError,
)

HELLO, LOAD, READY = Hello(PROTOCOL_VERSION, 1, "3.11.7"), Load("m", "cpu"), Ready(24000, 2, ["a"])
GATEWAYS = get_args(GatewayMessage)
PCM = b"\x01\x00"
GATEWAY_SAYS: list[Message] = [LOAD, Render(1, "x", "a"), Cancel(1), Deadline(1, 0.0), Ping(1), Stop()]
WORKER_SAYS: list[Message] = [
    *(HELLO, Progress("x"), READY, Capacity(1), LoadFailed("x"), Audio(1, 0, PCM)),
    *(Done(1, 0), Cancelled(1), Failed(1, "render_failed", "x"), Pong(1)),
]


def say(conversation: Conversation, *messages: Message) -> None:
    for message in messages:
        if isinstance(message, GATEWAYS):
            conversation.gateway_says(message)  # type: ignore[arg-type]
        else:
            conversation.worker_says(message)  # type: ignore[arg-type]


def talked(*messages: Message, side: Side = Side.GATEWAY) -> Conversation:
    conversation = Conversation(side)
    say(conversation, *messages)
    return conversation


def idle(side: Side = Side.GATEWAY) -> Conversation:
    return talked(HELLO, LOAD, READY, side=side)


def busy(side: Side = Side.GATEWAY) -> Conversation:
    return talked(HELLO, LOAD, READY, Render(1, "x", "a"), side=side)


def stopping(side: Side = Side.GATEWAY) -> Conversation:
    return talked(HELLO, LOAD, LoadFailed("x"), side=side)


IN_STATE: dict[State, Callable[[Side], Conversation]] = {
    State.LOADING: lambda side: talked(HELLO, LOAD, side=side),
    State.IDLE: idle,
    State.BUSY: busy,
    State.STOPPING: stopping,
}
ILLEGAL = [
    *((state, said) for state in State for said in GATEWAY_SAYS if not isinstance(said, GATEWAY_MAY_SAY[state])),
    *((state, said) for state in State for said in WORKER_SAYS if not isinstance(said, WORKER_MAY_SAY[state])),
]


@contextlib.contextmanager
def refusal(side: Side, message: Message) -> Iterator[None]:
    """The error of whoever says this, which names what was said."""
    speaker = Side.GATEWAY if isinstance(message, GATEWAYS) else Side.WORKER
    with pytest.raises(
        LocalError if speaker is side else WireError, match=f"^the {speaker.value} said {message.type} "
    ):
        yield


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("state", "message"), ILLEGAL, ids=lambda value: getattr(value, "type", str(value)))
def test_a_message_out_of_its_state_is_refused(state: State, message: Message, side: Side) -> None:
    conversation = IN_STATE[state](side)
    assert conversation.state is state
    with refusal(side, message):
        say(conversation, message)


@pytest.mark.parametrize("message", [said for said in WORKER_SAYS if said is not HELLO], ids=lambda said: said.type)
def test_a_worker_says_hello_before_anything_else(message: Message) -> None:
    with refusal(Side.GATEWAY, message):
        talked(LOAD, Ping(1), message)


RULES: list[tuple[str, list[Message], Message]] = [
    ("hello twice", [HELLO], HELLO),
    ("another protocol", [], Hello(PROTOCOL_VERSION + 1, 1, "3")),
    ("progress before load", [HELLO], Progress("x")),
    ("ready before load", [HELLO], READY),
    ("ready without capacity", [HELLO, LOAD], Ready(24000, 0, ["a"])),
    ("ready without rate", [HELLO, LOAD], Ready(0, 1, ["a"])),
    ("no capacity", [HELLO, LOAD, READY], Capacity(0)),
    ("more capacity than promised", [HELLO, LOAD, READY], Capacity(3)),
    ("capacity of one that was never ready, crossing stop", [HELLO, LOAD, Stop()], Capacity(1)),
    ("ready twice, crossing stop", [HELLO, LOAD, READY, Stop()], READY),
    ("load_failed after ready, crossing stop", [HELLO, LOAD, READY, Stop()], LoadFailed("x")),
    ("load_failed twice", [HELLO, LOAD, LoadFailed("x")], LoadFailed("x")),
    ("audio never asked for", [HELLO, LOAD, READY, Render(1, "x", "a")], Audio(2, 0, PCM)),
    ("audio from one", [HELLO, LOAD, READY, Render(1, "x", "a")], Audio(1, 1, PCM)),
    ("audio index gap", [HELLO, LOAD, READY, Render(1, "x", "a"), Audio(1, 0, PCM)], Audio(1, 2, PCM)),
    ("audio index twice", [HELLO, LOAD, READY, Render(1, "x", "a"), Audio(1, 0, PCM)], Audio(1, 0, PCM)),
    ("odd audio", [HELLO, LOAD, READY, Render(1, "x", "a")], Audio(1, 0, b"\0\0\0")),
    ("no audio", [HELLO, LOAD, READY, Render(1, "x", "a")], Audio(1, 0, b"")),
    ("done twice", [HELLO, LOAD, READY, Render(1, "x", "a"), Render(2, "x", "a"), Done(1, 0)], Done(1, 0)),
    ("done with a wrong count", [HELLO, LOAD, READY, Render(1, "x", "a"), Audio(1, 0, PCM)], Done(1, 2)),
    ("cancelled unasked", [HELLO, LOAD, READY, Render(1, "x", "a")], Cancelled(1)),
    (
        "audio after the end",
        [HELLO, LOAD, READY, Render(1, "x", "a"), Render(2, "x", "a"), Done(1, 0)],
        Audio(1, 0, PCM),
    ),
    ("pong unasked", [HELLO], Pong(1)),
    ("pong with another nonce", [HELLO, Ping(1)], Pong(2)),
    ("pong twice", [HELLO, Ping(1), Pong(1)], Pong(1)),
    ("pongs out of order", [HELLO, Ping(1), Ping(2)], Pong(2)),
    ("load twice", [LOAD], LOAD),
    ("stop twice", [Stop()], Stop()),
    ("ping after stop", [Stop()], Ping(1)),
    ("render of an open id", [HELLO, LOAD, READY, Render(1, "x", "a")], Render(1, "y", "a")),
    ("render beyond capacity", [HELLO, LOAD, READY, Render(1, "x", "a"), Render(2, "x", "a")], Render(3, "x", "a")),
    ("cancel twice", [HELLO, LOAD, READY, Render(1, "x", "a"), Cancel(1)], Cancel(1)),
    ("deadline of a cancelled render", [HELLO, LOAD, READY, Render(1, "x", "a"), Cancel(1)], Deadline(1, 0.0)),
]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize(("before", "message"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_a_broken_rule_is_the_speakers_error(before: list[Message], message: Message, side: Side) -> None:
    conversation = talked(*before, side=side)
    with refusal(side, message):
        say(conversation, message)


@pytest.mark.parametrize("message", [Cancel(1), Deadline(1, 0.0)], ids=lambda message: message.type)
def test_changing_an_ended_render_is_a_bug_in_the_gateway_but_a_crossing_for_the_worker(message: Message) -> None:
    say(idle(Side.WORKER), message)
    with refusal(Side.GATEWAY, message):
        say(idle(Side.GATEWAY), message)


def test_audio_of_a_cancelled_render_is_dropped_but_still_counted() -> None:
    conversation = busy()
    say(conversation, Cancel(1))
    assert conversation.worker_says(Audio(1, 0, PCM)) is None
    with pytest.raises(WireError):
        conversation.worker_says(Audio(1, 0, PCM))


@pytest.mark.parametrize("end", [Done(1, 0), Failed(1, "render_failed", "x"), Cancelled(1)], ids=lambda end: end.type)
def test_a_cancelled_render_keeps_its_place_until_the_worker_ends_it(end: Done | Failed | Cancelled) -> None:
    conversation = busy()
    say(conversation, Cancel(1))
    assert conversation.open_renders == {1}
    assert conversation.is_cancelled(1)
    assert conversation.worker_says(end) is end
    assert conversation.state is State.IDLE


@pytest.mark.parametrize("side", Side)
def test_a_busy_worker_may_say_what_keeps_it_from_speaking(side: Side) -> None:
    conversation = busy(side)
    progress = Progress("preparing")
    assert conversation.worker_says(progress) is progress
    assert conversation.state is State.BUSY
    assert conversation.open_renders == {1}


def test_audio_that_is_wanted_is_passed_on() -> None:
    conversation = busy()
    for index in range(3):
        audio = Audio(1, index, PCM)
        assert conversation.worker_says(audio) is audio


def test_only_an_open_render_that_was_cancelled_awaits_its_end() -> None:
    conversation = busy()
    say(conversation, Render(2, "x", "a"), Cancel(2))
    assert [conversation.is_cancelled(render_id) for render_id in (1, 2, 3)] == [False, True, False]


def test_the_slowest_and_smallest_worker_is_one() -> None:
    conversation = talked(HELLO, LOAD, Ready(1, 1, []))
    assert conversation.capacity == 1


def test_capacity_is_unknown_until_ready() -> None:
    conversation = talked(HELLO, LOAD)
    assert conversation.capacity == 0
    say(conversation, READY)
    assert conversation.capacity == 2


def test_a_worker_that_holds_less_is_given_less_and_keeps_what_it_has() -> None:
    conversation = busy()
    say(conversation, Render(2, "x", "a"), Capacity(1))
    assert (conversation.capacity, conversation.open_renders) == (1, {1, 2})
    say(conversation, Done(1, 0))
    with refusal(Side.GATEWAY, Render(3, "x", "a")):
        say(conversation, Render(3, "x", "a"))
    say(conversation, Done(2, 0), Render(3, "x", "a"))


def test_a_render_may_be_on_its_way_to_a_worker_that_has_just_said_that_it_holds_less() -> None:
    conversation = busy(Side.WORKER)
    say(conversation, Capacity(1), Render(2, "x", "a"))
    assert conversation.open_renders == {1, 2}


def test_an_id_may_be_used_again_after_its_end() -> None:
    conversation = busy()
    say(conversation, Audio(1, 0, PCM), Done(1, 1), Render(1, "y", "a"), Audio(1, 0, PCM))
    assert conversation.open_renders == {1}


def test_what_crosses_a_stop_is_heard() -> None:
    conversation = busy()
    say(conversation, Ping(1), Stop(), Audio(1, 0, PCM), Pong(1), Done(1, 1))
    assert conversation.state is State.STOPPING


class Link:
    """Two conversations, and what is on its way between them."""

    def __init__(self) -> None:
        self.gateway, self.worker = Conversation(Side.GATEWAY), Conversation(Side.WORKER)
        self.to_worker: deque[Message] = deque()
        self.to_gateway: deque[Message] = deque()

    def gateway_sends(self, message: Message) -> None:
        say(self.gateway, message)
        self.to_worker.append(message)

    def worker_sends(self, message: Message) -> None:
        say(self.worker, message)
        self.to_gateway.append(message)

    def arrive(self, way: deque[Message], receiver: Conversation) -> None:
        if way:
            say(receiver, way.popleft())

    def settle(self) -> None:
        while self.to_worker or self.to_gateway:
            self.arrive(self.to_worker, self.worker)
            self.arrive(self.to_gateway, self.gateway)


def is_legal(conversation: Conversation, history: list[Message], message: Message) -> bool:
    """Whether a fresh conversation with the same past takes the message: trying has no undo."""
    copy = talked(*history, side=conversation._side)
    try:
        say(copy, message)
    except LocalError:
        return False
    return True


MOVES = st.one_of(
    st.sampled_from(["deliver to worker", "deliver to gateway"]),
    st.sampled_from(
        [
            *(said for said in GATEWAY_SAYS if not isinstance(said, (Stop, Load))),
            *(Render(2, "y", "a"), Cancel(2), Deadline(2, 1.0), Stop()),
            *(Audio(1, 0, PCM), Audio(1, 1, PCM), Audio(2, 0, PCM), Done(1, 0), Done(1, 1), Done(2, 1)),
            *(Cancelled(1), Cancelled(2), Failed(1, "render_failed", "x"), Failed(2, "render_failed", "x"), Pong(1)),
        ]
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MOVES, max_size=60))
def test_two_sides_that_keep_the_rules_never_disagree_however_slow_the_link(moves: list[str | Message]) -> None:
    link = Link()
    link.gateway_sends(LOAD)
    link.worker_sends(HELLO)
    link.settle()
    link.worker_sends(READY)
    pasts: dict[Side, list[Message]] = {Side.GATEWAY: [LOAD, HELLO], Side.WORKER: [HELLO, LOAD, READY]}
    for move in moves:
        make_move(link, pasts, move)
    link.settle()
    assert link.gateway.state is link.worker.state
    assert link.gateway.open_renders == link.worker.open_renders


def make_move(link: Link, pasts: dict[Side, list[Message]], move: str | Message) -> None:
    if move == "deliver to worker":
        pasts[Side.WORKER] += list(link.to_worker)[:1]
        link.arrive(link.to_worker, link.worker)
    elif move == "deliver to gateway":
        pasts[Side.GATEWAY] += list(link.to_gateway)[:1]
        link.arrive(link.to_gateway, link.gateway)
    elif not isinstance(move, str):
        send_if_legal(link, pasts, move)


def send_if_legal(link: Link, pasts: dict[Side, list[Message]], message: Message) -> None:
    is_gateways = isinstance(message, GATEWAYS)
    sender, send = (link.gateway, link.gateway_sends) if is_gateways else (link.worker, link.worker_sends)
    past = pasts[Side.GATEWAY if is_gateways else Side.WORKER]
    if is_legal(sender, past, message):
        send(message)
        past.append(message)
