"""core/doors/wyoming_protocol: what a client may say, and what our events become."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.doors import wyoming_protocol as protocol
from voice_server.core.doors.wyoming_protocol import Replies, Synthesize, SynthesizeChunk, Voice
from voice_server.core.errors import BadMessage, SentenceFailed, TextTooLong, VoiceError
from voice_server.core.events import AnswerDone, AudioChunk, Problem, SentenceStarted
from voice_server.core.limits import Limits

LIMITS = Limits()


def _heard(line: bytes, data: bytes = b"") -> protocol.Said | None:
    return protocol.said(protocol.header(line, LIMITS), data)


def _kinds(message: bytes) -> list[str]:
    """The types of the events in these bytes."""
    kinds = []
    while message:
        line, message = message.split(b"\n", 1)
        told = json.loads(line)
        kinds.append(told["type"])
        message = message[told.get("data_length", 0) + told.get("payload_length", 0) :]
    return kinds


def test_data_may_stand_in_the_line_or_behind_it() -> None:
    in_line = _heard(b'{"type": "synthesize", "data": {"text": "Hi.", "voice": {"name": "low"}}}')
    behind = _heard(b'{"type": "synthesize", "data_length": 46}', b'{"text": "Hi.", "voice": {"name": "low"}}')
    assert in_line == behind == Synthesize("Hi.", Voice("low"))


def test_what_stands_behind_the_line_goes_first() -> None:
    line = b'{"type": "synthesize-chunk", "data": {"text": "old"}, "data_length": 15}'
    assert _heard(line, b'{"text": "new"}') == SynthesizeChunk("new")


def test_events_of_other_services_are_passed_over() -> None:
    assert _heard(b'{"type": "transcribe", "data": {"language": "en"}}') is None


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}", b"[]", b'{"type": 5}', b"\xff\n", b"[" * 50_000, b'{"type": "ping", "data_length": "5"}'],
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(BadMessage):
        protocol.header(line, LIMITS)


@pytest.mark.parametrize("length", [-1, 10**12])
@pytest.mark.parametrize("name", ["data_length", "payload_length"])
def test_a_length_that_nobody_needs_is_refused(name: str, length: int) -> None:
    with pytest.raises(TextTooLong):
        protocol.header(json.dumps({"type": "ping", name: length}).encode(), LIMITS)


@pytest.mark.parametrize("data", [b"", b"[]", b'{"text": 5}', b'{"text": "Hi.", "voice": "low"}', b"{", b"\xff"])
def test_data_of_the_wrong_kind_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        _heard(b'{"type": "synthesize"}', data)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(line: bytes, data: bytes) -> None:
    with contextlib.suppress(VoiceError):
        protocol.said(protocol.header(line, LIMITS), data)


def test_audio_is_announced_once_and_ended_once() -> None:
    replies = Replies(24000, streamed=False)
    told = replies.to(AudioChunk(0, bytes(480))) + replies.to(AudioChunk(1, bytes(480))) + replies.to(AnswerDone())
    assert _kinds(told) == ["audio-start", "audio-chunk", "audio-chunk", "audio-stop"]


def test_a_stream_of_chunks_ends_with_a_word_of_its_own() -> None:
    replies = Replies(24000, streamed=True)
    assert _kinds(replies.to(AudioChunk(0, bytes(480))))[-1] == "audio-chunk"
    assert _kinds(replies.to(AnswerDone())) == ["audio-stop", "synthesize-stopped"]


def test_a_timestamp_says_how_much_audio_came_before() -> None:
    replies = Replies(24000, streamed=False)
    replies.to(AudioChunk(0, bytes(24000)))
    assert b'"timestamp":500' in replies.to(AudioChunk(0, bytes(480)))


def test_an_answer_without_audio_ends_with_an_error() -> None:
    assert _kinds(Replies(24000, streamed=False).to(AnswerDone())) == ["error"]


def test_what_failed_is_told_once() -> None:
    replies = Replies(24000, streamed=False)
    assert _kinds(replies.to(Problem(SentenceFailed("no"))) + replies.to(AnswerDone())) == ["error"]


def test_the_info_names_every_voice_with_its_languages() -> None:
    line, data = protocol.info("tone", ["tone", "low"], ("en", "de")).split(b"\n", 1)
    (program,) = json.loads(data)["tts"]
    assert json.loads(line)["data_length"] == len(data)
    assert [(voice["name"], voice["languages"]) for voice in program["voices"]] == [
        ("tone", ["en", "de"]),
        ("low", ["en", "de"]),
    ]
    assert program["supports_synthesize_streaming"] is True


def test_what_wyoming_has_no_word_for_is_not_told() -> None:
    assert Replies(24000, streamed=False).to(SentenceStarted(0, "Hi.")) == b""


def test_a_ping_is_answered_with_its_own_text() -> None:
    line, data = protocol.pong("42").split(b"\n", 1)
    assert (json.loads(line)["type"], json.loads(data)) == ("pong", {"text": "42"})
