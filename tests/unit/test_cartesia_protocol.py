"""core/doors/cartesia_protocol: what a client may say, and what our events become."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.doors import cartesia_protocol as protocol
from voice_server.core.doors.cartesia_protocol import Generate, GenerationConfig, OutputFormat, Replies, Voice
from voice_server.core.errors import EmptyText, SentenceFailed, VoiceError
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    Problem,
    SentenceEnded,
    SentenceStarted,
)
from voice_server.core.limits import Limits

LIMITS = Limits()
SECOND = bytes(48_000)  # of audio
THEIR_VOICE = "f786b574-daa5-4673-aa0c-cbe3e8534c02"


def _replies(*, timestamps: bool = False, ends: tuple[bool, ...] = (True,), **format: Any) -> Replies:
    replies = Replies("c1", OutputFormat(**format), LIMITS, timestamps=timestamps)
    for is_last in ends:
        replies.expect_end(is_last=is_last, has_part=True)
    return replies


def _told(replies: Replies, *events: Event) -> list[dict[str, Any]]:
    return [json.loads(message) for event in events for message in replies.to(event)]


def test_what_livekit_sends_is_understood() -> None:
    message = protocol.decode(
        json.dumps(
            {
                "model_id": "sonic-3",
                "voice": {"mode": "id", "id": THEIR_VOICE},
                "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
                "language": "en",
                "add_timestamps": True,
                "max_buffer_delay_ms": 0,
                "context_id": "c1",
                "transcript": "Hello. ",
                "continue": True,
            }
        ),
        LIMITS,
    )
    assert (message.context_id, message.transcript, message.continues, message.is_phrase) == (
        "c1",
        "Hello. ",
        True,
        True,
    )
    assert message.output_format == OutputFormat("raw", "pcm_s16le", 16000)


@pytest.mark.parametrize(
    "message",
    [
        [],
        {"transcript": 5},
        {"context_id": ""},
        {"context_id": "x" * 200},
        {"output_format": {"container": "wav"}},
        {"output_format": {"container": "midi"}},
        {"output_format": {"encoding": "pcm_s24le"}},
        {"output_format": {"sample_rate": 1}},
        {"output_format": {"sample_rate": 10**9}},
    ],
)
def test_what_cannot_be_done_is_refused(message: Any) -> None:
    with pytest.raises(VoiceError):
        protocol.decode(json.dumps(message), LIMITS)


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(data: str) -> None:
    protocol.context_of(data)
    with contextlib.suppress(VoiceError):
        protocol.decode(data, LIMITS)


def test_the_context_of_a_refused_message_is_known_if_it_can_be_read() -> None:
    assert protocol.context_of('{"context_id": "c1", "transcript": 5}') == "c1"
    assert protocol.context_of('{"context_id": 5}') is None
    assert protocol.context_of("{") is None


def test_a_voice_of_cartesia_is_the_default_voice() -> None:
    assert protocol.voice_of(Generate(voice=Voice(id=THEIR_VOICE)), ["low"]) == ""
    assert protocol.voice_of(Generate(voice=Voice(mode="embedding")), ["low"]) == ""
    assert protocol.voice_of(Generate(voice=Voice(id=THEIR_VOICE)), [THEIR_VOICE]) == THEIR_VOICE
    assert protocol.voice_of(Generate(voice="low"), ["low"]) == "low"
    assert protocol.voice_of(Generate(voice=Voice(id="nobody")), ["low"]) == "nobody"


def test_speed_is_passed_on_to_engines_that_have_it() -> None:
    message = Generate(generation_config=GenerationConfig(speed=1.2))
    assert protocol.options_of(message, {"speed"}) == {"speed": 1.2}
    assert protocol.options_of(message, {}) == {}


def test_a_chunk_holds_audio_in_the_format_that_was_asked_for() -> None:
    (told,) = _told(_replies(encoding="pcm_alaw", sample_rate=8000), AudioChunk(0, b"\0\0" * 3))
    assert base64.b64decode(told["data"]) == b"\xd5" * 3
    assert (told["type"], told["done"], told["status_code"], told["context_id"]) == ("chunk", False, 206, "c1")


def test_chunks_are_of_a_size_that_clients_take() -> None:
    told = _told(_replies(), AudioChunk(0, SECOND * 10))
    assert all(len(message["data"]) < 100_000 for message in told)
    assert sum(len(base64.b64decode(message["data"])) for message in told) == len(SECOND) * 10


def test_times_of_words_count_from_the_begin_of_the_context() -> None:
    replies = _replies(timestamps=True, ends=(False, True))
    told = _told(
        replies,
        *(SentenceStarted(0, "Hello there."), AudioChunk(0, SECOND), SentenceEnded(0, 1.0), AnswerDone()),
        *(SentenceStarted(0, "Again."), AudioChunk(0, SECOND), SentenceEnded(0, 1.0), AnswerDone()),
    )
    words = [message["word_timestamps"] for message in told if message["type"] == "timestamps"]
    assert [times["words"] for times in words] == [["Hello", "there."], ["Again."]]
    assert (words[0]["start"][0], words[0]["end"][-1]) == (0, 1)
    assert (words[1]["start"], words[1]["end"]) == ([1], [2])


def test_times_are_told_only_to_who_asks() -> None:
    told = _told(_replies(), SentenceStarted(0, "Hi."), AudioChunk(0, SECOND), SentenceEnded(0, 1.0))
    assert {message["type"] for message in told} == {"chunk"}


def test_an_end_without_a_part_of_its_own_is_told_behind_the_one_before() -> None:
    replies = _replies(ends=(False,))
    replies.expect_end(is_last=False, has_part=False)
    replies.expect_end(is_last=True, has_part=False)
    _told(replies, AudioChunk(0, SECOND))
    told = [message["type"] for message in _told(replies, AnswerDone())]
    assert told == ["flush_done", "flush_done", "done"]
    assert replies.is_over


def test_a_flush_ends_a_part_and_the_last_part_the_context() -> None:
    replies = _replies(ends=(False, True))
    told = _told(replies, AudioChunk(0, SECOND), AnswerDone())
    assert (told[-1]["type"], told[-1]["flush_id"], told[-1]["done"]) == ("flush_done", 1, False)
    assert not replies.is_over
    told = _told(replies, AudioChunk(0, SECOND), AnswerDone())
    assert (told[-1]["type"], told[-1]["done"]) == ("done", True)
    assert replies.is_over


@pytest.mark.parametrize("events", [(AnswerDone(),), (Problem(EmptyText("nothing")), AnswerDone())])
def test_a_context_without_audio_ends_with_an_error(events: tuple[Event, ...]) -> None:
    replies = _replies()
    (told,) = _told(replies, *events)
    assert (told["type"], told["error_code"], told["status_code"], told["done"]) == ("error", "empty_text", 400, True)
    assert replies.is_over


def test_a_failed_sentence_ends_the_context() -> None:
    replies = _replies()
    (told,) = _told(replies, Problem(SentenceFailed("no"), 0))
    assert (told["type"], told["context_id"], told["message"]) == ("error", "c1", "no")
    assert replies.is_over


def test_a_cancelled_context_says_what_was_heard() -> None:
    replies = _replies()
    (told,) = _told(replies, AnswerCancelled("Hello", 300))
    assert (told["type"], told["cancelled"], told["spoken_text"], told["spoken_ms"]) == ("done", True, "Hello", 300)
    assert replies.is_over
