"""What a client of the VoxCPM TTS server is told: frames, progress, errors."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.voxcpm_tts_desk import request
from voice_server.core import errors
from voice_server.core.doors.voxcpm_tts_protocol import (
    Ping,
    Refusal,
    Replies,
    encode_error,
    encode_frame,
    encode_pong,
)
from voice_server.core.errors import VoiceError
from voice_server.core.events import AudioChunk, Event, SentenceQueued, SentenceRendering, SentenceStarted


@dataclass(frozen=True, slots=True)
class Frame:
    kind: int
    told: dict[str, Any]
    pcm: bytes
    pcm_at: int  # the byte at which the audio begins


def read_frame(data: bytes) -> Frame:
    """As the document of the protocol describes it."""
    magic, kind, reserved, size = struct.unpack_from(">HBBI", data)
    assert (magic, reserved) == (0xAA55, 0)
    told = json.loads(data[8 : 8 + size])
    (length,) = struct.unpack_from(">I", data, 8 + size)
    pcm = data[12 + size :]
    assert len(pcm) == length
    return Frame(kind, told, pcm, 12 + size)


def replies(mode: str = "streaming", rate: int = 8000) -> Replies:
    return Replies(request(mode=mode), rate)


def messages_of(replies: Replies, *events: Event) -> list[dict[str, Any] | Frame]:
    sent = [message for event in events for message in replies.on(event)]
    return [read_frame(message) if isinstance(message, bytes) else json.loads(message) for message in sent]


# Server messages


@given(st.text(min_size=1, max_size=40), st.binary(max_size=40).map(lambda data: data * 2))
def test_audio_begins_at_a_multiple_of_four_bytes(name: str, pcm: bytes) -> None:
    frame = read_frame(encode_frame(1, {"request_id": name}, pcm))
    assert frame.pcm_at % 4 == 0
    assert (frame.told, frame.pcm) == ({"request_id": name}, pcm)


def test_the_header_is_byte_for_byte_the_documented_one() -> None:
    assert encode_frame(2, {"a": 1}, b"\x01\x02") == b'\xaa\x55\x02\x00\x00\x00\x00\x08{"a":1} \x00\x00\x00\x02\x01\x02'


@given(st.lists(st.integers(min_value=1, max_value=300), min_size=1))
def test_streamed_frames_hold_every_byte_once_and_only_the_last_is_final(sizes: list[int]) -> None:
    talk = replies()
    chunks = [bytes([number % 256]) * 2 * size for number, size in enumerate(sizes)]
    sent = messages_of(talk, *(AudioChunk(0, chunk) for chunk in chunks))
    frames = [message for message in sent if isinstance(message, Frame)]
    *last, complete = talk.ended()
    frames += [read_frame(frame) for frame in last if isinstance(frame, bytes)]
    assert b"".join(frame.pcm for frame in frames) == b"".join(chunks)
    assert all(frame.pcm for frame in frames)
    assert [frame.told["is_final"] for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert [frame.told["sequence"] for frame in frames] == list(range(len(frames)))
    assert json.loads(complete)["result"]["chunks"] == len(frames)


def test_progress_grows_with_the_chunks_and_is_told_at_every_fifth() -> None:
    events = [SentenceRendering(0, "", 0, "w"), SentenceStarted(0, ""), *[AudioChunk(0, bytes(800))] * 100]
    told = [message for message in messages_of(replies(), *events) if isinstance(message, dict)]
    assert [(one["state"], one["progress"]) for one in told[:4]] == [
        ("processing", 0.0),
        ("generating", 0.1),
        ("generating", 0.15),
        ("generating", 0.2),
    ]
    assert [one["progress"] for one in told] == sorted(one["progress"] for one in told)
    assert told[-1]["progress"] == 0.8
    assert len(told) == 22


def test_a_later_sentence_that_waits_does_not_turn_progress_back() -> None:
    talk = replies()
    messages_of(talk, SentenceRendering(0, "", 0, "w"))
    assert messages_of(talk, SentenceQueued(1, "busy"), SentenceRendering(1, "", 0, "w")) == []


def test_a_place_in_line_is_told() -> None:
    (told,) = messages_of(replies(), SentenceQueued(2, "busy"))
    assert isinstance(told, dict)
    assert told["message"] == "place 2 in line: all workers are busy"


def test_an_answer_without_audio_is_a_failure_never_an_empty_file() -> None:
    for mode in ("streaming", "non_streaming"):
        with pytest.raises(errors.SentenceFailed):
            replies(mode).ended()


def test_a_whole_file_is_one_frame_with_its_duration() -> None:
    talk = replies("non_streaming")
    assert messages_of(talk, AudioChunk(0, bytes(800)), AudioChunk(1, bytes(800))) == []
    _, frame, complete = talk.ended()
    assert isinstance(frame, bytes)
    assert read_frame(frame).told == {"request_id": "a", "sample_rate": 8000, "duration": 0.1}
    assert json.loads(complete)["result"] == {"duration": 0.1, "sample_rate": 8000, "samples": 800, "chunks": 1}


def test_a_pong_gives_the_timestamp_back() -> None:
    assert json.loads(encode_pong(Ping(1.5), 2.5)) == {"type": "pong", "timestamp": 1.5, "server_time": 2.5}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UnknownVoice("x"), "VOICE_NOT_FOUND"),
        (errors.TextTooLong("x"), "TEXT_TOO_LONG"),
        (errors.BackendUnavailable("x"), "MODEL_NOT_LOADED"),
        (errors.Overloaded("x"), "QUEUE_FULL"),
        (errors.SentenceFailed("x"), "GENERATION_FAILED"),
        (errors.BadAudio("x"), "GENERATION_FAILED"),
        (errors.Runaway("x"), "GENERATION_FAILED"),
        (errors.Poisoned("x"), "GENERATION_FAILED"),
        (errors.GoingAway("x"), "INTERNAL_ERROR"),
        (Refusal("TIMEOUT", "x"), "TIMEOUT"),
    ],
)
def test_every_error_has_a_documented_code(error: VoiceError, code: str) -> None:
    told = json.loads(encode_error(error, "a"))
    assert told == {"type": "error", "request_id": "a", "error": {"code": code, "message": "x", "details": {}}}


def test_an_option_that_an_engine_refuses_is_told_by_its_name() -> None:
    told = json.loads(encode_error(errors.BadOption("too few", field="opts.inference_timesteps"), "a"))
    assert told["error"]["code"] == "INVALID_PARAMS"
    assert told["error"]["details"] == {"errors": {"inference_timesteps": "too few"}}


def test_b18_a_mistake_of_ours_tells_nothing_of_itself() -> None:
    told = json.loads(encode_error(RuntimeError("/secret/path"), "a"))
    assert told["error"]["code"] == "INTERNAL_ERROR"
    assert "secret" not in str(told)


@pytest.mark.parametrize(
    ("reason", "told"), [("busy", "place 2 in line: all workers are busy"), ("loading", "the model is loading")]
)
def test_a_request_that_waits_is_told_its_place_and_why(reason: Any, told: str) -> None:
    (message,) = messages_of(replies(), SentenceQueued(2, reason))
    assert isinstance(message, dict)
    assert message["state"] == "queued" and told in message["message"]


def test_audio_is_kept_until_what_follows_shows_that_it_is_not_the_last() -> None:
    assert messages_of(replies(), SentenceStarted(0, "Hi."), AudioChunk(0, b"\0\0"))[1:] == []


@pytest.mark.parametrize(
    ("ignored", "told"), [([], "accepted"), (["seed", "mode"], "accepted; without effect here: seed, mode")]
)
def test_a_request_that_is_taken_is_told_what_has_no_effect(ignored: list[str], told: str) -> None:
    message = json.loads(replies().accepted(ignored))
    assert (message["type"], message["request_id"], message["state"], message["message"]) == (
        "progress",
        "a",
        "queued",
        told,
    )


def test_a_request_that_was_cancelled_is_complete() -> None:
    told = json.loads(replies().cancelled())
    assert told == {"type": "complete", "request_id": "a", "result": {"cancelled": True}}
