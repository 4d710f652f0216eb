from __future__ import annotations

import math
from typing import Any

import pytest

from voice_server.wire.messages import (
    STT,
    Audio,
    Cancel,
    Cancelled,
    Capacity,
    Deadline,
    Done,
    Failed,
    Finish,
    Hear,
    Hello,
    Listen,
    Load,
    LoadFailed,
    Message,
    Ping,
    Pong,
    Progress,
    Ready,
    Render,
    Stop,
    Text,
    WireError,
    from_wire,
    to_wire,
)

ONE_OF_EACH: list[Message] = [
    Load("a.b:C", "cpu", {"x": 1}, "hello"),
    Render(1, "Hello.", "heart", {"speed": 1.5}, -0.25),
    Listen(1, {"language": "en"}),
    Hear(1, 0, b"\x01\x02"),
    Finish(1),
    Cancel(1),
    Deadline(1, 0.5),
    Ping(7),
    Stop(),
    Hello(1, 99, "3.9.18"),
    Progress("importing"),
    Ready(24000, 3, ["a", "b"], True),
    Capacity(2),
    Ready(16000, 4, [], kind=STT, languages=["en"]),
    LoadFailed("ImportError: no", False),
    Audio(1, 0, b"\x01\x02"),
    Text(1, 0, 1, " hello", 0.1, 0.5, 0.5, "there"),
    Done(1, 1, True),
    Cancelled(1),
    Failed(1, "render_failed", "ValueError: no", False, True),
    Pong(7),
]


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.type)
def test_every_message_survives_the_way_to_the_wire_and_back(message: Message) -> None:
    assert from_wire(to_wire(message)) == message


def test_fields_with_a_default_may_be_left_out() -> None:
    assert from_wire({"type": "load", "adapter": "m", "device": "cpu"}) == Load("m", "cpu")


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "ping",
        {},
        {"type": None},
        {"type": ["ping"]},
        {"type": "shutdown"},
        {"type": "ping"},
        {"type": "ping", "nonce": "1"},
        {"type": "ping", "nonce": True},
        {"type": "ping", "nonce": 1.0},
        {"type": "ping", "nonce": -1},
        {"type": "ping", "nonce": 1, "extra": 1},
        {"type": "stop", "nonce": 1},
        {"type": "deadline", "render_id": 1, "due_in_s": math.nan},
        {"type": "deadline", "render_id": 1, "due_in_s": math.inf},
        {"type": "deadline", "render_id": 1, "due_in_s": True},
        {"type": "audio", "render_id": 1, "index": 0, "pcm": "text"},
        {"type": "progress", "text": b"bytes"},
        {"type": "render", "render_id": 1, "text": "", "voice": "", "options": []},
        {"type": "render", "render_id": 1, "text": "", "voice": "", "options": {1: 2}},
        {"type": "ready", "sample_rate": 1, "capacity": 1, "voices": "heart"},
        {"type": "ready", "sample_rate": 1, "capacity": 1, "voices": ["heart", 1]},
        {"type": "done", "render_id": 1, "chunks": 1, "truncated": 1},
    ],
    ids=str,
)
def test_anything_that_is_not_exactly_a_message_is_refused(data: Any) -> None:
    with pytest.raises(WireError):
        from_wire(data)


def test_a_refusal_quotes_only_the_beginning_of_a_strangers_words() -> None:
    with pytest.raises(WireError) as refusal:
        from_wire({"type": "x" * 10_000})
    assert len(str(refusal.value)) < 100


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ([], "a message is a map, not list"),
        ({"type": "x" * 50}, "unknown message type '" + "x" * 40 + "'"),
        ({"type": "ping", "nonce": 1, "extra": 1}, "ping has a field we do not know"),
        ({"type": "ping", "nonce": "1"}, "ping.nonce has a wrong type or value"),
        ({"type": "ping"}, "ping lacks a field"),
    ],
)
def test_the_log_is_told_what_is_wrong_with_a_message_and_little_of_it(data: object, told: str) -> None:
    with pytest.raises(WireError) as refusal:
        from_wire(data)
    assert str(refusal.value) == told
