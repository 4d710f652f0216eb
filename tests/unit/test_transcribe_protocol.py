from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from voice_server.core.doors import transcribe_protocol as protocol
from voice_server.core.doors.transcribe_protocol import (
    AudioChunk,
    SessionReplies,
    Start,
    StartSession,
    Stop,
    StopSession,
)
from voice_server.core.errors import BadMessage, BadOption, HearingFailed, Overloaded, UnknownFormat
from voice_server.core.limits import Limits
from voice_server.core.text.hearing import AudioDropped, HearingDone, HearingEvent, HearingProblem, Segment, TextHeard

LIMITS = Limits()


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ({"cmd": "start_session", "session_id": "a"}, StartSession("a")),
        ({"cmd": "audio_chunk", "session_id": "a", "pcm_b64": "AA==", "seq": 3}, AudioChunk("a", "AA==")),
        ({"cmd": "stop_session", "session_id": "a"}, StopSession("a")),
        ({"start": True, "sample_rate": 48_000, "format": "f32le"}, Start(True, 48_000, "f32le")),
        ({"stop": True}, Stop(True)),
    ],
)
def test_each_message_is_its_command(said: dict[str, Any], command: protocol.Command) -> None:
    assert protocol.decode(json.dumps(said), LIMITS) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "[" * 5000,
        '{"cmd": ["start_session"], "session_id": "a"}',
        '{"cmd": "start_session", "session_id": 5}',
        '{"cmd": "start_session", "session_id": "' + "a" * 129 + '"}',
        '{"cmd": "audio_chunk", "session_id": "a"}',
        '{"start": 1}',
        '{"stop": false}',
        '{"start": true, "sample_rate": "high"}',
        "{}",
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        protocol.decode(text, LIMITS)


@pytest.mark.parametrize("text", ['{"cmd": "stop_session"}', '{"cmd": "stop_session", "session_id": ""}'])
def test_a_session_that_is_not_named_is_missed_in_voxmlx_s_words(text: str) -> None:
    with pytest.raises(BadMessage, match="missing session_id") as refused:
        protocol.decode(text, LIMITS)
    assert refused.value.field == "session_id"


@pytest.mark.parametrize("form", ["s16le", "f32le"])
def test_audio_is_of_a_known_format(form: str) -> None:
    assert protocol.check_start(Start(True, format=form), LIMITS) == form


@pytest.mark.parametrize(
    ("start", "field"),
    [
        (Start(True, sample_rate=1), "sample_rate"),
        (Start(True, sample_rate=10**9), "sample_rate"),
        (Start(True, format="mp3"), "format"),
    ],
)
def test_audio_that_nobody_can_hear_is_refused_before_it_comes(start: Start, field: str) -> None:
    with pytest.raises(UnknownFormat) as refused:
        protocol.check_start(start, LIMITS)
    assert refused.value.field == field


@pytest.mark.parametrize("text", ["!", "AAA", "\u00e4\u00e4\u00e4\u00e4", "AAAA"])
def test_a_chunk_is_base64_of_whole_samples(text: str) -> None:
    with pytest.raises(BadMessage) as refused:
        protocol.base64_pcm(text)
    assert refused.value.field == "pcm_b64"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_is_a_number(value: float) -> None:
    with pytest.raises(BadMessage, match="no numbers"):
        protocol.to_pcm(np.array([0.0, value], dtype="<f4").tobytes(), "f32le")


def test_bare_integers_are_taken_as_they_are() -> None:
    assert protocol.to_pcm(b"\x01\x02", "s16le") == b"\x01\x02"
    with pytest.raises(BadMessage, match="whole samples of 2"):
        protocol.to_pcm(b"\x01", "s16le")


def test_samples_keep_their_value_and_their_bounds() -> None:
    floats = np.array([0.0, 1.0, -1.0, 0.5, 7.0, -7.0], dtype="<f4").tobytes()
    heard = np.frombuffer(protocol.base64_pcm(base64.b64encode(floats).decode()), dtype="<i2")
    assert heard.tolist() == [0, 32767, -32767, 16384, 32767, -32767]


@pytest.mark.parametrize(
    ("language", "known", "languages", "options"),
    [
        ("", ["language"], ["en", "de"], {}),
        ("auto", ["language"], ["en", "de"], {}),
        ("de", ["language"], ["en", "de"], {"language": "de"}),
        ("DE-ch", ["language"], ["en", "de"], {"language": "de"}),
        ("en-GB", [], ["en"], {}),
    ],
)
def test_a_language_goes_to_engines_that_have_a_choice(
    language: str, known: list[str], languages: list[str], options: dict[str, Any]
) -> None:
    assert protocol.options_of(language, {}, known, languages) == options


def test_a_language_that_is_not_heard_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadOption, match="de, en") as refusal:
        protocol.options_of("fr", {}, ["language"], ["en", "de"])
    assert refusal.value.field == "language"


def test_what_is_asked_as_an_option_goes_before_the_language() -> None:
    assert protocol.options_of("en", {"language": "de"}, ["language"], ["en", "de"]) == {"language": "de"}


def test_a_session_is_told_how_many_of_its_chunks_wait() -> None:
    replies = SessionReplies("a")
    for _ in range(10):
        replies.chunk(bytes(3200))  # 0.1 s
    replies.to(AudioDropped(0.1, 0.5))
    told = json.loads(replies.to(AudioDropped(0.2, 0.5)))
    assert (told["queue_depth"], told["dropped_count"], told["dropped_s"]) == (5, 2, 0.2)


def test_a_partial_counts_chunks_and_keeps_what_is_tentative_apart() -> None:
    replies = SessionReplies("a")
    replies.chunk(bytes(3200))
    assert json.loads(replies.to(TextHeard("Hello", "there"))) == {
        "event": "partial",
        "session_id": "a",
        "text": "Hello",
        "chunk_count": 1,
        "tentative": "there",
    }


@pytest.mark.parametrize(("is_stopping", "when"), [(False, "partial"), (True, "final")])
def test_a_failure_says_when_it_came(is_stopping: bool, when: str) -> None:
    replies = SessionReplies("a", is_stopping=is_stopping)
    told = json.loads(replies.to(HearingProblem(HearingFailed("why"))))
    assert told["message"] == f"{when} transcribe failed: why"
    assert (told["session_id"], told["code"]) == ("a", "hearing_failed")


def test_other_errors_keep_their_words() -> None:
    told = json.loads(SessionReplies("a").to(HearingProblem(Overloaded("later"))))
    assert (told["message"], told["code"]) == ("later", "overloaded")


def test_a_bare_final_has_segments_and_no_session() -> None:
    done = HearingDone("Hello there.", (Segment(" Hello there.", 0.12345, 1.0),), 1.5)
    assert json.loads(protocol.bare_message(done)) == {
        "type": "final",
        "text": "Hello there.",
        "segments": [{"text": "Hello there.", "start_s": 0.123, "end_s": 1.0}],
        "duration_s": 1.5,
    }


def test_what_waits_is_unknown_before_any_audio_came() -> None:
    assert json.loads(SessionReplies("a").to(AudioDropped(0.1, 0.5)))["queue_depth"] == 0


def test_a_session_ends_with_its_name_and_its_text() -> None:
    done = HearingDone("Hello.", (Segment(" Hello.", 0.0, 1.0),), 1.5)
    told = json.loads(SessionReplies("a").to(done))
    assert (told["event"], told["session_id"], told["text"], told["duration_s"]) == ("final", "a", "Hello.", 1.5)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (TextHeard("Hello", "there"), {"type": "partial", "text": "Hello", "tentative": "there"}),
        (AudioDropped(0.1, 0.5), {"type": "overload", "policy": "drop_newest", "dropped_s": 0.1, "backlog_s": 0.5}),
        (
            HearingProblem(Overloaded("later")),
            {"event": "error", "type": "error", "message": "later", "code": "overloaded", "field": None},
        ),
    ],
)
def test_the_bare_way_says_what_happened_without_a_session(event: HearingEvent, told: dict[str, Any]) -> None:
    assert json.loads(protocol.bare_message(event)) == told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (protocol.bare_started("whisper"), {"type": "started", "backend": "whisper"}),
        (protocol.session_started("a"), {"event": "session_started", "session_id": "a"}),
        (
            protocol.ready("whisper", ("en", "de"), 7),
            {"event": "ready", "type": "ready", "ts_ms": 7, "backend": "whisper", "languages": ["en", "de"]},
        ),
    ],
)
def test_a_beginning_is_confirmed(message: str, told: dict[str, Any]) -> None:
    assert json.loads(message) == told


def test_an_error_of_no_session_names_none() -> None:
    assert "session_id" not in json.loads(protocol.error(BadMessage("invalid json")))
