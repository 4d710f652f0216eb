"""The table of POST /chat: what goes to the model, what its lines mean, and what its refusals tell an operator."""

from __future__ import annotations

import json

import pytest

from voice_server.core.doors import chat_protocol as protocol
from voice_server.core.doors.chat_protocol import ChatRequest, Message
from voice_server.core.doors.limits import ChatLimits
from voice_server.core.errors import BadMessage, BadOption, ModelFailed, TextTooLong

BASE = {"LLM_BASE_URL": "http://localhost:11434/v1/", "LLM_MODEL": "small"}
LIMITS = ChatLimits(window=3, message_chars=20)


def line(**chunk: object) -> str:
    return f"data: {json.dumps(chunk)}"


def test_without_an_address_there_is_no_model() -> None:
    assert protocol.model_settings({"LLM_MODEL": "small", "LLM_API_KEY": "k"}) is None


def test_the_address_ends_at_the_completions_whether_or_not_it_had_a_slash() -> None:
    settings = protocol.model_settings(BASE)
    assert settings and settings.url == "http://localhost:11434/v1/chat/completions"


def test_the_key_is_in_no_repr() -> None:
    assert "s3cret" not in repr(protocol.model_settings({**BASE, "LLM_API_KEY": "s3cret"}))


@pytest.mark.parametrize("wrong", [{"LLM_BASE_URL": "localhost:11434"}, {"LLM_MODEL": " "}])
def test_settings_that_cannot_work_say_what_to_write(wrong: dict[str, str]) -> None:
    with pytest.raises(BadOption, match="such as"):
        protocol.model_settings({**BASE, **wrong})


def test_the_model_sees_the_prompt_and_the_newest_messages() -> None:
    settings = protocol.model_settings({**BASE, "LLM_PROMPT": "Be kind."})
    assert settings
    body = protocol.completion(settings, [Message("user", str(n)) for n in range(5)], LIMITS)
    assert (body["model"], body["stream"]) == ("small", True)
    assert [message["content"] for message in body["messages"]] == ["Be kind.", "2", "3", "4"]
    assert body["messages"][0]["role"] == "system"


@pytest.mark.parametrize(
    "messages", [[], [Message("assistant", "Hello.")], [Message("user", " ")]], ids=["none", "not a user's", "blank"]
)
def test_a_conversation_ends_with_what_the_user_said(messages: list[Message]) -> None:
    with pytest.raises(BadMessage):
        protocol.check(ChatRequest(messages), LIMITS)


def test_a_conversation_that_fits_passes() -> None:
    protocol.check(ChatRequest([Message("assistant", "x" * 20), Message("user", "And?")]), LIMITS)


def test_a_message_has_a_longest_length() -> None:
    with pytest.raises(TextTooLong):
        protocol.check(ChatRequest([Message("assistant", "x" * 21), Message("user", "And?")]), LIMITS)


@pytest.mark.parametrize(
    ("told", "token"),
    [
        (line(choices=[{"index": 0, "delta": {"role": "assistant", "content": " Hi"}}]), " Hi"),
        (line(choices=[{"delta": {"content": None, "reasoning_content": "hm"}}]), ""),
        (line(choices=[{"delta": {}, "finish_reason": "stop"}]), ""),
        (line(choices=[], usage={"total_tokens": 3}), ""),
        (": keep-alive", ""),
        ("event: message", ""),
        ("", ""),
    ],
)
def test_only_content_is_a_token(told: str, token: str) -> None:
    assert protocol.token_of(told) == token


@pytest.mark.parametrize("told", ["data: <html>", 'data: {"choices": 7}', line(error={"message": "out of memory"})])
def test_what_is_no_answer_is_an_error_without_its_words(told: str) -> None:
    with pytest.raises(ModelFailed) as caught:
        protocol.token_of(told)
    assert "memory" not in caught.value.message


def test_the_last_line_is_no_token() -> None:
    assert protocol.is_last("data: [DONE]")
    assert not protocol.is_last(line(choices=[{"delta": {"content": "[DONE]"}}]))


@pytest.mark.parametrize(("status", "hint"), [(401, "LLM_API_KEY"), (404, "LLM_MODEL"), (429, "quota"), (500, "log")])
def test_a_refusal_says_what_to_check(status: int, hint: str) -> None:
    assert hint in protocol.refusal(status).message


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (protocol.token_event(" Hi"), {"token": " Hi"}),
        (protocol.done_event(), {"done": True}),
        (protocol.error_event(ModelFailed("no")), {"error": {"code": "model_failed", "message": "no"}}),
    ],
)
def test_what_the_page_reads_is_one_event_of_json(event: bytes, told: dict[str, object]) -> None:
    assert event.startswith(b"data: ") and event.endswith(b"\n\n")
    assert json.loads(event.removeprefix(b"data: ")) == told
