"""docs/stream-tokens.md is the specification: its tables are read and held against the code, row by row."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core import errors
from voice_server.core.doors.stream_tokens_protocol import (
    Claim,
    ClientMessage,
    Teller,
    decode,
    encode,
    from_query,
    message_of,
    resume_from_query,
)
from voice_server.core.errors import BadMessage, BadOption, TextTooLong, VoiceError
from voice_server.core.events import (
    AnswerCancelled,
    AnswerDone,
    AudioChunk,
    Event,
    FormatChanged,
    Problem,
    ResumeOffer,
    SentenceAccepted,
    SentenceEnded,
    SentenceQueued,
    SentenceRendering,
    SentenceResumed,
    SentenceStarted,
    StreamReady,
)
from voice_server.core.limits import Limits

LIMITS = Limits()
TOKEN_CHARS = LIMITS.text.token_chars
PAGE = (Path(__file__).parents[2] / "docs" / "stream-tokens.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading of the page."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


# What a client sends

SENT: list[tuple[str, dict[str, Any]]] = [
    ('{"resume":{"token":"t","bytes":8,"messages":2}}', {"resume": Claim("t", 8, 2)}),
    ('{"resume":{"token":"t","bytes":0}}', {"resume": Claim("t", 0)}),
    ('{"cancel":true}', {"cancel": True}),
    ('{"voice":"heart"}', {"voice": "heart"}),
    ('{"opts":{"speed":1.5,"style":null}}', {"opts": {"speed": 1.5, "style": None}}),
    ('{"sample_rate":16000}', {"sample_rate": 16000}),
    ('{"sample_rate":"native"}', {"sample_rate": "native"}),
    ('{"keep_open":true}', {"keep_open": True}),
    ('{"keep_open":false}', {"keep_open": False}),
    ('{"token":"Hello "}', {"token": "Hello "}),
    ('{"flush":true}', {"flush": True}),
    ('{"done":true}', {"done": True}),
    ('{"token":"Bye.","done":true}', {"token": "Bye.", "done": True}),
    ("{}", {}),
    ('{"done":1}', {"done": 1}),  # the original takes anything truthy
    ('{"token":"x","cfg_scale":1.5}', {"token": "x"}),  # a newer client's key is no error
]


@pytest.mark.parametrize(("text", "fields"), SENT, ids=[text for text, _ in SENT])
def test_what_a_client_may_say_is_read(text: str, fields: dict[str, Any]) -> None:
    assert decode(text, LIMITS) == ClientMessage(**fields)


def test_the_page_lists_every_key_in_the_order_in_which_it_is_applied() -> None:
    assert [row[0].strip("`") for row in rows("What you send")] == list(ClientMessage.__struct_fields__)


REFUSED: list[tuple[str | bytes, str | None]] = [
    ("", None),
    ("hello", None),
    ("[]", None),
    ('"token"', None),
    ("null", None),
    ('{"token":"x"', None),
    ('{"token":"x"} {}', None),
    ('{"token":"\\ud800"}', None),
    ('{"opts":{"speed":NaN}}', None),
    ("\ud800", None),
    (b"\xff\xfe", None),
    ("[" * 100_000, None),
    ('{"opts":' * 100_000, None),
    ('{"opts":{"speed":1e999}}', "opts[...]"),
    ('{"opts":{"speed":' + "9" * 5_000 + "}}", "opts[...]"),
    ('{"resume":true}', "resume"),
    ('{"resume":{"token":"t"}}', "resume"),
    ('{"resume":{"token":"t","bytes":3}}', "resume.bytes"),
    ('{"resume":{"token":"t","bytes":-2}}', "resume.bytes"),
    ('{"resume":{"token":"t","bytes":2,"messages":-1}}', "resume.messages"),
    ('{"cancel":1}', "cancel"),
    ('{"voice":7}', "voice"),
    ('{"opts":[]}', "opts"),
    ('{"sample_rate":true}', "sample_rate"),
    ('{"sample_rate":24000.5}', "sample_rate"),
    ('{"sample_rate":"fast"}', "sample_rate"),
    ('{"sample_rate":7999}', "sample_rate"),
    ('{"sample_rate":48001}', "sample_rate"),
    ('{"sample_rate":-1}', "sample_rate"),
    ('{"sample_rate":1' + "0" * 25 + "}", "sample_rate"),
    ('{"keep_open":"yes"}', "keep_open"),
    ('{"token":5}', "token"),
    ('{"flush":"now"}', "flush"),
    ('{"done":{}}', "done"),
]


@pytest.mark.parametrize(("data", "field"), REFUSED, ids=[repr(data[:32]) for data, _ in REFUSED])
def test_anything_else_is_a_bad_message_that_says_where(data: str | bytes, field: str | None) -> None:
    with pytest.raises(BadMessage) as refused:
        decode(data, LIMITS)
    assert refused.value.field == field


@pytest.mark.parametrize("sample_rate", [LIMITS.stream.sample_rate_min, LIMITS.stream.sample_rate_max])
def test_the_bounds_of_the_sample_rate_are_allowed(sample_rate: int) -> None:
    assert decode(json.dumps({"sample_rate": sample_rate}), LIMITS).sample_rate == sample_rate


def test_a_token_has_a_greatest_length() -> None:
    assert decode(json.dumps({"token": "ü" * TOKEN_CHARS}), LIMITS).token == "ü" * TOKEN_CHARS
    with pytest.raises(TextTooLong) as refused:
        decode(json.dumps({"token": "x" * (TOKEN_CHARS + 1)}), LIMITS)
    assert refused.value.field == "token"


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({}, {}),
        ({"voice": "heart"}, {"voice": "heart"}),
        ({"sample_rate": "16000"}, {"sample_rate": 16000}),
        ({"sample_rate": "native"}, {"sample_rate": "native"}),
        ({"keep_open": "1"}, {"keep_open": True}),
        ({"keep_open": "false"}, {"keep_open": False}),
        ({"token": "x", "cancel": "1", "backend": "tone"}, {}),
    ],
)
def test_voice_rate_and_keep_open_may_stand_in_the_query(query: dict[str, str], fields: dict[str, Any]) -> None:
    assert from_query(query, LIMITS) == ClientMessage(**fields)


@pytest.mark.parametrize(
    "query", [{"sample_rate": "x"}, {"sample_rate": "7999"}, {"sample_rate": ""}, {"keep_open": "maybe"}]
)
def test_a_wrong_query_says_where(query: dict[str, str]) -> None:
    with pytest.raises(BadMessage) as refused:
        from_query(query, LIMITS)
    assert [refused.value.field] == list(query)


@pytest.mark.parametrize(
    ("query", "wish"),
    [
        ({}, False),
        ({"resume": "0"}, False),
        ({"resume": "1"}, True),
        ({"resume": "true"}, True),
        ({"resume": "Wp2", "bytes": "8", "messages": "2"}, Claim("Wp2", 8, 2)),
        ({"resume": "Wp2", "bytes": "8", "voice": "heart"}, Claim("Wp2", 8)),
    ],
)
def test_the_query_says_whether_a_client_may_come_back_and_that_it_does(
    query: dict[str, str], wish: Claim | bool
) -> None:
    assert resume_from_query(query, LIMITS) == wish


@pytest.mark.parametrize(
    ("place", "field"), [({}, None), ({"bytes": "x"}, "bytes"), ({"bytes": "3"}, "bytes"), ({"bytes": "-2"}, "bytes")]
)
def test_a_place_in_the_query_that_cannot_be_says_where(place: dict[str, str], field: str | None) -> None:
    with pytest.raises(BadMessage) as refused:
        resume_from_query({"resume": "Wp2", **place}, LIMITS)
    assert refused.value.field == field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
KEYS = st.sampled_from([*ClientMessage.__struct_fields__, "other"])
ANYTHING = st.text(st.characters(exclude_categories=[])) | st.binary() | st.dictionaries(KEYS, JSON).map(json.dumps)


@given(ANYTHING)
def test_any_bytes_are_a_message_or_an_error_that_can_be_told(data: str | bytes) -> None:
    try:
        decode(data, LIMITS)
    except VoiceError as error:
        assert json.loads(encode(Problem(error)))["type"] == "error"


@pytest.mark.parametrize("word", ["x" * 60_000, "x - at `$.token`"])
def test_an_error_quotes_little_of_the_client_and_is_not_misled_by_it(word: str) -> None:
    with pytest.raises(BadMessage) as refused:
        decode(json.dumps({"sample_rate": word}), LIMITS)
    assert len(refused.value.message) <= LIMITS.text.problem_chars
    assert refused.value.field == "sample_rate"


@given(st.dictionaries(st.sampled_from(["voice", "sample_rate", "keep_open"]), st.text()))
def test_any_query_is_a_message_or_an_error_that_can_be_told(query: dict[str, str]) -> None:
    try:
        from_query(query, LIMITS)
    except VoiceError as error:
        assert json.loads(encode(Problem(error)))["code"] == "bad_message"


# What a client gets

TOLD: list[Event] = [
    StreamReady("hibari", "heart", 24_000),
    FormatChanged(16_000),
    SentenceAccepted(0, "Hello there."),
    SentenceQueued(1, "busy", 1.2),
    SentenceRendering(0, "Hello there.", 0, "hibari-0"),
    SentenceStarted(0, "Hello there."),
    SentenceEnded(0, 0.8124),
    SentenceResumed(0, exact=True),
    Problem(BadOption("…", field="opts.speed")),
    AnswerCancelled("Hello", 400, 812),
    AnswerDone(),
]


def test_the_page_shows_every_message_as_it_is_sent() -> None:
    shown = [json.loads(row[0].strip("`")) for row in rows("What you get") if row[0].startswith("`{")]
    assert [json.loads(encode(event)) for event in TOLD] == shown


def test_the_page_shows_the_greeting_of_who_came_back() -> None:
    ready = message_of(StreamReady("hibari", "heart", 24_000, ResumeOffer("Wp2…", 30.0, 96_000, 4)))
    [shown] = re.findall(r"`(\{\"type\":\"ready\",…,.*?\})`", PAGE)
    told = json.loads(shown.replace("…,", "", 1))
    assert ready.items() >= told.items()
    assert len(told) == 5


def test_words_are_told_at_the_end_of_a_sentence_to_those_who_want_them() -> None:
    teller = Teller()
    teller.tell(SentenceStarted(3, "Hello **there**."), words=True)
    end = json.loads(teller.tell(SentenceEnded(3, 1.0), words=True))
    words = end.pop("words")
    assert end == message_of(SentenceEnded(3, 1.0))
    assert [(word["word"], word["begin"], word["end"]) for word in words] == [("Hello", 0, 5), ("**there**.", 6, 16)]
    assert [words[0]["start_ms"], words[-1]["end_ms"]] == [0, 1000]
    assert words[0]["end_ms"] == words[1]["start_ms"]


def test_words_are_not_told_to_those_who_did_not_ask() -> None:
    teller = Teller()
    teller.tell(SentenceStarted(0, "Hello."), words=True)
    assert teller.tell(SentenceEnded(0, 1.0), words=False) == encode(SentenceEnded(0, 1.0))


def test_a_wait_that_nobody_knows_is_not_told() -> None:
    assert message_of(SentenceQueued(2, "loading")) == {"type": "queued", "position": 2, "reason": "loading"}


def test_messages_are_sent_as_compact_as_the_page_shows_them() -> None:
    assert encode(AnswerDone()) == '{"type":"done"}'
    assert encode(SentenceAccepted(0, "Grün.")) == '{"type":"sentence","event":"accepted","index":0,"text":"Grün."}'


def test_audio_is_a_binary_message_without_a_header() -> None:
    assert encode(AudioChunk(3, b"\x01\x02")) == b"\x01\x02"


def test_an_error_names_the_sentence_when_one_failed() -> None:
    told = message_of(Problem(errors.SentenceFailed("no"), 4))
    assert told == {"type": "error", "code": "sentence_failed", "msg": "no", "sentence": 4}


@pytest.mark.parametrize("chars", [49, 50, 51, 400])
def test_a_long_sentence_is_cut_in_a_generating_message(chars: int) -> None:
    said = message_of(SentenceRendering(0, "x" * chars, 0, "w"))["sentence"]
    assert said == ("x" * chars if chars <= 50 else "x" * 50 + "...")


def test_every_error_of_the_page_exists_and_closes_as_it_says() -> None:
    kinds = {kind.code: kind.close_code for kind in all_errors(VoiceError)}
    for code, _, closes_with in rows("Errors"):
        assert kinds[code.strip("`")] == (int(closes_with) if closes_with else None)


def all_errors(kind: type[VoiceError]) -> list[type[VoiceError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in all_errors(child))]


def test_a_sentence_names_the_tags_that_were_left_out_of_it() -> None:
    told = message_of(SentenceAccepted(0, "[sigh] No.", ("sigh",)))
    assert told["dropped_tags"] == ("sigh",)


def test_a_sentence_of_which_nothing_is_spoken_says_so() -> None:
    assert message_of(SentenceAccepted(0, "*", spoken=False))["spoken"] is False
    assert "spoken" not in message_of(SentenceAccepted(0, "Hello."))


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in all_errors(VoiceError) if not kind.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


@given(st.text(), st.integers(0, 10_000), st.floats(0, 1e6))
def test_every_event_can_be_sent_whatever_it_holds(text: str, number: int, seconds: float) -> None:
    events: list[Event] = [
        StreamReady(text, text, number),
        FormatChanged(number),
        SentenceAccepted(number, text),
        SentenceQueued(number, text),
        SentenceRendering(number, text, number, text),
        SentenceStarted(number, text),
        SentenceEnded(number, seconds),
        SentenceResumed(number, exact=False),
        Problem(BadMessage(text, field=text), number),
        AnswerCancelled(),
        AnswerDone(),
    ]
    assert all("type" in json.loads(encode(event)) for event in events)


def test_what_is_no_event_is_a_bug() -> None:
    with pytest.raises(TypeError):
        message_of(AudioChunk(0, b""))
