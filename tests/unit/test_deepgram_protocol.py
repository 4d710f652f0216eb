"""core/doors/deepgram_protocol: what a client may say, and what our events become."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.doors import deepgram_protocol as protocol
from voice_server.core.doors.deepgram_protocol import Clear, Close, Flush, Query, Replies, Speak
from voice_server.core.errors import BadMessage, EmptyText, GoingAway, SentenceFailed, UnknownFormat
from voice_server.core.events import AnswerCancelled, AnswerDone, AudioChunk, Event, Problem, SentenceStarted
from voice_server.core.limits import Limits

LIMITS = Limits()


def _told(replies: Replies, *events: Event) -> list[dict[str, object]]:
    """The messages that are not audio."""
    return [json.loads(message) for event in events for message in replies.to(event) if isinstance(message, str)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"type": "Speak", "text": "Hi.", "more": 1}', Speak("Hi.")),
        ('{"type": "Flush"}', Flush()),
        ('{"type": "Clear"}', Clear()),
        ('{"type": "Close"}', Close()),
    ],
)
def test_the_four_messages(data: str, message: protocol.ClientMessage) -> None:
    assert protocol.decode(data, LIMITS) == message


@pytest.mark.parametrize("data", ["", "[]", "{}", '{"type": "Sing"}', '{"type": "Speak"}', '{"type": 5}', "[" * 50_000])
def test_any_other_message_is_refused(data: str) -> None:
    with pytest.raises(BadMessage):
        protocol.decode(data, LIMITS)


@given(st.text(max_size=200))
def test_no_text_does_more_than_be_refused(data: str) -> None:
    with contextlib.suppress(BadMessage):
        protocol.decode(data, LIMITS)


@pytest.mark.parametrize("query", [{"sample_rate": "fast"}, {"sample_rate": "1.5"}, {"speed": "nan"}, {"speed": "-1"}])
def test_a_query_of_the_wrong_kind_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadMessage):
        protocol.from_query(query, LIMITS)


def test_what_a_query_does_not_say_is_as_deepgram_has_it() -> None:
    assert protocol.streamed_sound(Query(), LIMITS) == protocol.Sound("linear16", "none", 24000)
    assert protocol.streamed_sound(Query(encoding="mulaw"), LIMITS).sample_rate == 8000
    assert protocol.file_sound(Query(), LIMITS) == protocol.Sound("mp3", "none", 22050)
    assert protocol.file_sound(Query(encoding="linear16"), LIMITS) == protocol.Sound("linear16", "wav", 24000)


@pytest.mark.parametrize(
    "query", [Query(encoding="mp3"), Query(container="wav"), Query(sample_rate=4000), Query(sample_rate=10**9)]
)
def test_a_socket_refuses_what_it_cannot_send(query: Query) -> None:
    with pytest.raises(UnknownFormat):
        protocol.streamed_sound(query, LIMITS)


@pytest.mark.parametrize("query", [Query(encoding="midi"), Query(encoding="mp3", container="ogg")])
def test_a_file_is_refused_in_a_format_that_does_not_exist(query: Query) -> None:
    with pytest.raises(UnknownFormat):
        protocol.file_sound(query, LIMITS)


def test_speed_is_passed_on_to_engines_that_have_it() -> None:
    assert protocol.options_of(Query(speed=1.5), {"speed"}) == {"speed": 1.5}
    assert protocol.options_of(Query(speed=1.5), {}) == {}


def test_audio_is_sent_bare_in_pieces_that_clients_take() -> None:
    size = LIMITS.stream.coalesce_bytes
    assert [*map(len, Replies("linear16", LIMITS).to(AudioChunk(0, bytes(2 * size + 2))))] == [size, size, 2]
    assert Replies("mulaw", LIMITS).to(AudioChunk(0, b"\0\0" * 3)) == [b"\xff" * 3]


def test_ends_are_counted() -> None:
    told = _told(Replies("linear16", LIMITS), AnswerDone(), AnswerCancelled("Hi.", 500), AnswerDone())
    assert [(message["type"], message["sequence_id"]) for message in told] == [
        ("Flushed", 0),
        ("Cleared", 1),
        ("Flushed", 2),
    ]
    assert (told[1]["spoken_text"], told[1]["spoken_ms"]) == ("Hi.", 500)


@pytest.mark.parametrize("problem", [Problem(SentenceFailed("no"), 0), Problem(EmptyText("nothing"))])
def test_an_answer_that_is_not_heard_at_all_is_an_error(problem: Problem) -> None:
    assert _told(Replies("linear16", LIMITS), problem)[0]["type"] == "Error"


def test_a_sentence_that_fails_behind_others_is_a_warning() -> None:
    told = _told(Replies("linear16", LIMITS), AudioChunk(0, bytes(2)), Problem(SentenceFailed("no"), 1))
    assert told == [
        {
            "type": "Warning",
            "description": "no",
            "code": "sentence_failed",
            "warn_code": "sentence_failed",
            "warn_msg": "no",
        }
    ]


def test_a_mistake_of_the_client_is_a_warning_and_the_end_of_the_session_an_error() -> None:
    replies = Replies("linear16", LIMITS)
    assert _told(replies, Problem(BadMessage("what?")))[0]["type"] == "Warning"
    assert _told(replies, Problem(GoingAway("bye")))[0]["type"] == "Error"


def test_events_that_deepgram_has_no_word_for_are_not_told() -> None:
    assert Replies("linear16", LIMITS).to(SentenceStarted(0, "Hi.")) == []


def test_the_first_message_names_the_request_and_the_voice() -> None:
    told = json.loads(protocol.metadata("r1", "ada"))
    assert (told["type"], told["request_id"], told["model_name"]) == ("Metadata", "r1", "ada")


def test_an_error_of_the_http_door_has_its_request() -> None:
    told = protocol.error_body(SentenceFailed("no"), "r1")
    assert told == {"err_code": "sentence_failed", "err_msg": "no", "request_id": "r1"}
