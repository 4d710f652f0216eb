"""The table of the OpenAI doors."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from voice_server.core.doors import openai_protocol as protocol
from voice_server.core.errors import (
    BadMessage,
    BadOption,
    EmptyText,
    Overloaded,
    SentenceFailed,
    TextTooLong,
    UnknownBackend,
    UnknownVoice,
)
from voice_server.core.limits import Limits

LIMITS = Limits()


def _speech(**body: Any) -> protocol.SpeechRequest:
    return msgspec.json.decode(json.dumps({"input": "Hello.", **body}), type=protocol.SpeechRequest)


def test_only_the_text_is_needed() -> None:
    assert _speech() == protocol.SpeechRequest("Hello.")
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{}", type=protocol.SpeechRequest)


def test_null_is_as_good_as_nothing_and_unknown_keys_are_ignored() -> None:
    keys = ("model", "voice", "response_format", "speed", "instructions", "stream_format", "sample_rate")
    assert _speech(**dict.fromkeys(keys), user="somebody") == _speech()


@pytest.mark.parametrize(
    "body",
    [
        {"input": None},
        {"input": ["Hello."]},
        {"voice": 5},
        {"voice": {}},
        {"voice": {"id": None}},
        {"speed": 0.24},
        {"speed": 4.1},
        {"speed": "fast"},
        {"speed": True},
        {"stream_format": "SSE"},
        {"opts": [1]},
        {"sample_rate": 24000.5},
        {"stream": "no"},
    ],
)
def test_wrong_types_and_ranges_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        _speech(**body)


@pytest.mark.parametrize("hostile", [b'{"input": "\\ud800"}', b'{"input": "a", "speed": NaN}', b"[" * 50_000])
def test_what_is_no_json_is_refused(hostile: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        msgspec.json.decode(hostile, type=protocol.SpeechRequest)


def test_a_text_may_be_as_long_as_a_file_and_no_longer() -> None:
    longest = LIMITS.text.file_chars
    protocol.check(_speech(input="a" * longest), LIMITS)
    with pytest.raises(TextTooLong):
        protocol.check(_speech(input="a" * (longest + 1)), LIMITS)


@pytest.mark.parametrize("rate", [-1, 0, 7_999, 48_001])
def test_a_sample_rate_out_of_range_is_refused(rate: int) -> None:
    with pytest.raises(BadMessage) as refused:
        protocol.check(_speech(sample_rate=rate), LIMITS)
    assert refused.value.field == "sample_rate"


@pytest.mark.parametrize(("voice", "name"), [(None, ""), ("alloy", "alloy"), ({"id": "alloy"}, "alloy")])
def test_a_voice_is_a_string_or_an_object(voice: Any, name: str) -> None:
    assert protocol.voice_of(_speech(voice=voice)) == name


@pytest.mark.parametrize(
    ("model", "backend"),
    [("", ""), ("tone", "tone"), ("tts-1", ""), ("tts-1-hd-1106", ""), ("gpt-4o-mini-tts-2025-03-20", "")],
)
def test_a_model_is_a_backend_and_openais_own_are_the_default_one(model: str, backend: str) -> None:
    assert protocol.backend_of(model, ["hibari", "tone"]) == backend


def test_a_backend_that_is_called_like_a_model_of_openai_goes_first() -> None:
    assert protocol.backend_of("tts-1", ["hibari", "tts-1"]) == "tts-1"


@pytest.mark.parametrize("model", ["whisper-1", "Tone", "tts", "tts-", "tts-1\n", "x tts-1", "kokoro"])
def test_other_models_are_refused_with_the_list(model: str) -> None:
    with pytest.raises(UnknownBackend, match="hibari, tone, tts-1"):
        protocol.backend_of(model, ["hibari", "tone"])


def _options(*known: str, can_design: bool = False, **body: Any) -> dict[str, Any]:
    return protocol.options_of(_speech(**body), known, can_design=can_design)


def test_speed_is_an_option_where_there_is_one() -> None:
    assert _options("speed", speed=2) == {"speed": 2.0}
    assert _options("speed") == {}
    assert _options("seed", speed=1.0) == {}
    with pytest.raises(BadOption) as refused:
        _options("seed", speed=1.5)
    assert refused.value.field == "speed"


def test_instructions_go_where_an_engine_takes_some_and_are_ignored_elsewhere() -> None:
    assert _options("instructions", "design", instructions="Calm.", can_design=True) == {"instructions": "Calm."}
    assert _options("design", instructions="Calm.", can_design=True) == {"design": "Calm."}
    assert _options("design", instructions="Calm.", can_design=False) == {}
    assert _options("speed", instructions="Calm.") == {}
    assert _options("instructions", instructions="") == {}


def test_options_of_our_own_go_before_openais() -> None:
    assert _options("speed", speed=2.0, opts={"speed": 0.5, "seed": 1}) == {"speed": 0.5, "seed": 1}


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (EmptyText("x", field="text"), 400, "invalid_request_error", "input", "empty_text"),
        (TextTooLong("x", field="token"), 400, "invalid_request_error", "input", "text_too_long"),
        (UnknownVoice("x", field="voice"), 400, "invalid_request_error", "voice", "unknown_voice"),
        (UnknownBackend("x", field="model"), 404, "invalid_request_error", "model", "model_not_found"),
        (BadOption("x", field="opts.speed"), 400, "invalid_request_error", "speed", "bad_option"),
        (BadMessage("Expected `str` - at `$.voice.id`"), 400, "invalid_request_error", "voice.id", "bad_message"),
        (SentenceFailed("x"), 500, "server_error", None, "sentence_failed"),
        (Overloaded("x"), 503, "server_error", None, "overloaded"),
    ],
)
def test_errors_are_told_as_openai_tells_them(error: Any, status: int, kind: str, param: str | None, code: str) -> None:
    assert protocol.status_of(error) == status
    told = {"message": error.message, "type": kind, "param": param, "code": code}
    assert protocol.error_body(error) == {"error": told}


def test_the_sdk_is_told_when_to_try_again_and_when_it_is_of_no_use() -> None:
    assert protocol.error_headers(Overloaded("x")) == {"retry-after": "1", "x-should-retry": "true"}
    assert protocol.error_headers(SentenceFailed("x")) == {"x-should-retry": "false"}
    assert protocol.error_headers(EmptyText("x")) == {}


def test_events_are_one_line_of_json_each() -> None:
    for event in (
        protocol.audio_delta(b"\0\n\n\xff"),
        protocol.audio_done(5, 1.5),
        protocol.audio_error(SentenceFailed("one\n\ntwo")),
    ):
        assert event.startswith(b"data: {") and event.endswith(b"}\n\n")
        assert event.count(b"\n") == 2


def test_a_delta_holds_the_audio_and_the_end_its_usage() -> None:
    delta = json.loads(protocol.audio_delta(b"\0\xff").removeprefix(b"data: "))
    assert delta == {"type": "speech.audio.delta", "audio": base64.b64encode(b"\0\xff").decode()}
    done = json.loads(protocol.audio_done(5, 1.2345).removeprefix(b"data: "))
    assert done["usage"] == {"input_tokens": 5, "output_tokens": 1234, "total_tokens": 1239}


def test_a_backend_with_the_name_of_a_model_is_listed_once() -> None:
    listed = [model["id"] for model in protocol.model_list(["tts-1", "tone"])["data"]]
    assert listed == ["tts-1", "tone", "tts-1-hd", "gpt-4o-mini-tts"]
