"""What a client of the VoxCPM TTS server may say, and what engines are told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.voxcpm_tts_desk import LIMITS, request
from voice_server.core.addresses import FileUrl
from voice_server.core.doors.voxcpm_tts_protocol import (
    Cancel,
    Ping,
    Refusal,
    TtsRequest,
    decode,
    options_for,
    voice_name,
)

ENGINE = {"cfg_value", "inference_timesteps", "denoise", "prompt_text", "retry_badcase", "retry_badcase_max_times"}


def refusal(data: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decode(data if isinstance(data, str | None) else json.dumps(data), LIMITS)
    return caught.value


def refused_params(**params: Any) -> dict[str, str]:
    with pytest.raises(Refusal) as caught:
        request(**params)
    assert (caught.value.name, caught.value.request_id) == ("INVALID_PARAMS", "a")
    return caught.value.errors


# Client messages


def test_a_request_has_the_documented_defaults() -> None:
    assert request() == TtsRequest("a", "Hello.", "streaming", "", {})


def test_what_engines_are_for_is_kept_apart() -> None:
    got = request(mode="non_streaming", voice_id="x-y", cfg_value=3, seed=7, normalize=None, prompt_wav_url="")
    assert got == TtsRequest("a", "Hello.", "non_streaming", "x-y", {"cfg_value": 3, "seed": 7})


def test_cancel_and_ping_are_read() -> None:
    assert decode('{"type": "cancel", "request_id": "a"}', LIMITS) == Cancel("a")
    assert decode('{"type": "ping"}', LIMITS) == Ping(None)
    assert decode('{"type": "ping", "timestamp": "now"}', LIMITS) == Ping("now")


@pytest.mark.parametrize("data", ["", "{", "[]", "5", '{"a": NaN}', "[" * 60_000, '{"type": "\\ud800"}'])
def test_what_is_no_json_object_is_refused(data: str) -> None:
    assert refusal(data).name == "INVALID_JSON"


def test_a_binary_message_is_refused() -> None:
    assert refusal(None).name == "UNSUPPORTED_FORMAT"


@pytest.mark.parametrize("kind", ["", "speak", None, 5, ["ping"], {"a": 1}])
def test_an_unknown_type_is_refused_by_its_own_code(kind: Any) -> None:
    told = refusal({"type": kind, "request_id": "a"})
    assert (told.name, told.request_id) == ("UNKNOWN_MESSAGE_TYPE", "a")


@pytest.mark.parametrize("name", [None, "", 5, True, ["a"], "a" * 129])
@pytest.mark.parametrize("kind", ["tts_request", "cancel"])
def test_b16_a_request_without_an_id_is_refused(kind: str, name: Any) -> None:
    told = refusal({"type": kind, "request_id": name, "params": {"text": "x"}})
    assert (told.name, told.request_id, told.errors.keys()) == ("INVALID_PARAMS", None, {"request_id"})


@pytest.mark.parametrize("params", [None, [], "text", 5])
def test_params_are_an_object(params: Any) -> None:
    told = refusal({"type": "tts_request", "request_id": "a", "params": params})
    assert (told.name, told.request_id, told.errors.keys()) == ("INVALID_PARAMS", "a", {"params"})


@pytest.mark.parametrize("text", [None, "", " \n", 5, True, ["x"]])
def test_a_text_says_something(text: Any) -> None:
    assert refused_params(text=text).keys() == {"text"}


def test_a_text_has_at_most_five_thousand_characters() -> None:
    assert len(request(text="字" * 5000).text) == 5000
    with pytest.raises(Refusal) as caught:
        request(text="a" * 5001)
    assert (caught.value.name, caught.value.request_id) == ("TEXT_TOO_LONG", "a")


GOOD = {
    "mode": ["streaming", "non_streaming"],
    "cfg_value": [0.1, 2, 10.0],
    "inference_timesteps": [1, 50],
    "normalize": [True, False],
    "denoise": [True, False],
    "retry_badcase": [True, False],
    "retry_badcase_max_times": [0, 10],
    "retry_badcase_ratio_threshold": [1, 20.0],
    "voice_id": ["samples-anna"],
    "prompt_text": ["My words."],
}

BAD: dict[str, list[Any]] = {
    "mode": ["fast", True, 1],
    "cfg_value": [0.09, 10.1, True, "2", 10**400],
    "inference_timesteps": [0, 51, True, 10.5],
    "normalize": [0, 1, "true"],
    "denoise": [1, "yes"],
    "retry_badcase": ["", 0],
    "retry_badcase_max_times": [-1, 11, False],
    "retry_badcase_ratio_threshold": [0.9, 20.1, True],
    "voice_id": [5, True, "a" * 257, ["a"]],
    "prompt_text": [5, "a" * 1025],
    "prompt_wav_url": ["http://127.0.0.1/a.wav", 5, False],
    "prompt_wav_path": ["/etc/passwd", "a.wav", 0],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_values_at_the_ends_of_their_ranges_are_taken(name: str, value: Any) -> None:
    request(**{name: value})


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_b6_b7_b18_other_values_are_refused_by_name(name: str, value: Any) -> None:
    assert refused_params(**{name: value}).keys() == {name}


PROMPT = "https://files.example.com/me.wav"


def with_urls(**params: Any) -> TtsRequest:
    message = {"type": "tts_request", "request_id": "a", "params": {"text": "Hello.", **params}}
    got = decode(json.dumps(message), LIMITS, takes_urls=True)
    assert isinstance(got, TtsRequest)
    return got


def test_f6_where_urls_are_taken_a_prompt_is_read_and_its_words_have_an_effect() -> None:
    got = with_urls(prompt_wav_url=PROMPT, prompt_text="My words.")
    assert got.prompt_url == FileUrl("files.example.com", "/me.wav")
    assert options_for(got, ENGINE) == ({}, [])


def test_f6_where_urls_are_not_taken_the_refusal_names_the_flag() -> None:
    assert "--allow-prompt-urls" in refused_params(prompt_wav_url=PROMPT)["prompt_wav_url"]


@pytest.mark.parametrize(
    "params",
    [{"prompt_wav_url": "http://127.0.0.1/a.wav"}, {"prompt_wav_url": 0}, {"prompt_wav_url": PROMPT, "voice_id": "x"}],
)
def test_f6_a_prompt_is_one_url_and_nothing_beside_it(params: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        with_urls(**params)
    assert caught.value.errors.keys() == {"prompt_wav_url"}


def test_f6_a_path_is_refused_also_where_urls_are_taken() -> None:
    with pytest.raises(Refusal) as caught:
        with_urls(prompt_wav_path="/etc/passwd")
    assert caught.value.errors.keys() == {"prompt_wav_path"}


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert refused_params(text="", cfg_value=99, mode="x").keys() == {"text", "cfg_value", "mode"}


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_any_json_is_read_or_refused(value: Any) -> None:
    message = {"type": "tts_request", "request_id": "a", "params": value}
    try:
        decode(json.dumps(message), LIMITS)
    except Refusal as told:
        assert told.name in ("INVALID_JSON", "INVALID_PARAMS")


# For engines


def test_an_engine_is_told_what_it_knows_and_the_client_what_has_no_effect() -> None:
    got = request(cfg_value=3.0, inference_timesteps=5, normalize=True, seed=1)
    assert options_for(got, {"cfg_value", "seed"}) == (
        {"cfg_value": 3.0, "seed": 1},
        ["inference_timesteps", "normalize"],
    )


def test_no_engine_denoises_or_takes_a_clients_word_for_what_a_voice_says() -> None:
    assert options_for(request(denoise=True, prompt_text="Hi."), ENGINE) == ({}, ["prompt_text", "denoise"])


def test_what_a_client_does_not_want_anyway_is_not_told() -> None:
    assert options_for(request(denoise=False, normalize=False), ENGINE) == ({}, [])


def test_no_retries_are_none() -> None:
    assert options_for(request(retry_badcase=True, retry_badcase_max_times=0), ENGINE) == ({"retry_badcase": False}, [])


@pytest.mark.parametrize(
    ("voice_id", "name"),
    [
        ("heart", "heart"),
        ("samples-anna", "anna"),
        ("hibari-heart", "heart"),
        ("samples-x", "samples-x"),  # a voice with that very name
        ("other-anna", "other-anna"),
        ("", ""),
    ],
)
def test_an_id_is_a_name_with_or_without_its_category(voice_id: str, name: str) -> None:
    assert voice_name(voice_id, ["heart", "anna", "samples-x"], ["samples", "hibari"]) == name
