from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core import errors
from voice_server.core.addresses import FileUrl
from voice_server.core.doors.limits import VoxcpmTtsLimits
from voice_server.core.doors.voxcpm_tts_protocol import (
    Cancel,
    Ping,
    Refusal,
    Replies,
    TtsRequest,
    decode,
    encode_error,
    encode_frame,
    encode_pong,
    options_for,
    voice_name,
)
from voice_server.core.errors import VoiceError
from voice_server.core.events import AudioChunk, Event, SentenceQueued, SentenceRendering, SentenceStarted

LIMITS = VoxcpmTtsLimits()
ENGINE = {"cfg_value", "inference_timesteps", "denoise", "prompt_text", "retry_badcase", "retry_badcase_max_times"}


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


def request(**params: Any) -> TtsRequest:
    message = {"type": "tts_request", "request_id": "a", "params": {"text": "Hello.", **params}}
    got = decode(json.dumps(message), LIMITS)
    assert isinstance(got, TtsRequest)
    return got


def refusal(data: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        decode(data if isinstance(data, str | None) else json.dumps(data), LIMITS)
    return caught.value


def refused_params(**params: Any) -> dict[str, str]:
    with pytest.raises(Refusal) as caught:
        request(**params)
    assert (caught.value.name, caught.value.request_id) == ("INVALID_PARAMS", "a")
    return caught.value.errors


def replies(mode: str = "streaming", rate: int = 8000) -> Replies:
    return Replies(request(mode=mode), rate)


def messages_of(replies: Replies, *events: Event) -> list[dict[str, Any] | Frame]:
    sent = [message for event in events for message in replies.on(event)]
    return [read_frame(message) if isinstance(message, bytes) else json.loads(message) for message in sent]


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
