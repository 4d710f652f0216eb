"""The table of POST /chat: a conversation in → a request to an OpenAI-compatible model; its lines → tokens → events.

docs/talk.md is our own specification. Facts of the other side: chat completions with `stream: true`, as OpenAI, Ollama,
llama.cpp and vLLM answer them: lines `data: {…}` whose first choice has a `delta`, and `data: [DONE]` at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from voice_server.core.doors.limits import ChatLimits
from voice_server.core.errors import BadMessage, BadOption, ModelFailed, TextTooLong, VoiceError

PROMPT = (
    "You are a voice assistant: what you write is spoken aloud as you write it. Answer in the language of the user, in "
    "a few short sentences of plain words, without markdown, lists, links or emoji."
)
_PREFIX = "LLM_"  # of the variables below; main.py keeps all that begin like it from workers
_DATA = "data:"
_LAST = "[DONE]"


class Message(msgspec.Struct, frozen=True):
    role: Literal["user", "assistant"]
    content: str


class ChatRequest(msgspec.Struct, frozen=True):
    """The body of POST /chat: the conversation so far, which ends with what the user said."""

    messages: list[Message]


@dataclass(frozen=True, slots=True, repr=False)
class ModelSettings:
    """Where the model is. It has no repr: the key stands in no log."""

    url: str  # of chat completions
    name: str
    key: str = ""
    prompt: str = PROMPT


def model_settings(environ: Mapping[str, str]) -> ModelSettings | None:
    """Of LLM_BASE_URL, LLM_MODEL, LLM_API_KEY and LLM_PROMPT; None without the first. Raises BadOption."""
    base, name = (environ.get(_PREFIX + key, "").strip() for key in ("BASE_URL", "MODEL"))
    if not base:
        return None
    url = urlsplit(base)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise BadOption(f"LLM_BASE_URL is a URL such as http://localhost:11434/v1, not {base!r}")
    if not name:
        raise BadOption("LLM_BASE_URL is set without LLM_MODEL: name the model, such as LLM_MODEL=llama3.2")
    key, prompt = environ.get(f"{_PREFIX}API_KEY", "").strip(), environ.get(f"{_PREFIX}PROMPT", "").strip()
    return ModelSettings(base.rstrip("/") + "/chat/completions", name, key, prompt or PROMPT)


def check(request: ChatRequest, limits: ChatLimits) -> None:
    """Raises BadMessage and TextTooLong."""
    if not request.messages or request.messages[-1].role != "user" or not request.messages[-1].content.strip():
        raise BadMessage("the last of `messages` is what the user said", field="messages")
    if any(len(message.content) > limits.message_chars for message in request.messages):
        raise TextTooLong(f"a message has at most {limits.message_chars} characters", field="messages")


def completion(settings: ModelSettings, messages: Sequence[Message], limits: ChatLimits) -> dict[str, Any]:
    """The body for the model: the newest messages, behind the prompt."""
    told = [{"role": message.role, "content": message.content} for message in messages[-limits.window :]]
    return {"model": settings.name, "stream": True, "messages": [{"role": "system", "content": settings.prompt}, *told]}


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None


def is_last(line: str) -> bool:
    return _payload(line) == _LAST


def token_of(line: str) -> str:
    """What a line of the model's answer adds to its text; "" for all other lines. Raises ModelFailed."""
    payload = _payload(line)
    if not payload:
        return ""
    try:
        chunk = msgspec.json.decode(payload, type=_Chunk)
    except (ValueError, RecursionError):
        raise ModelFailed(
            "the language model's answer cannot be read; is LLM_BASE_URL an OpenAI-compatible API?"
        ) from None
    if chunk.error is not None:
        raise ModelFailed("the language model broke off its answer; the server's log says more")
    delta = chunk.choices[0].delta if chunk.choices else None
    return (delta and delta.content) or ""


def refusal(status: int) -> ModelFailed:
    """What an operator can do about a model that answers with this HTTP status."""
    hint = {
        401: "check LLM_API_KEY",
        403: "check LLM_API_KEY",
        404: "check LLM_BASE_URL (it usually ends in /v1) and LLM_MODEL",
        429: "it has too much to do, or its quota is used up",
    }
    return ModelFailed(f"the language model answered {status}: {hint.get(status, 'the log of the server says more')}")


def _payload(line: str) -> str:
    return line[len(_DATA) :].strip() if line.startswith(_DATA) else ""


# Server-sent events


def token_event(token: str) -> bytes:
    return _event({"token": token})


def done_event() -> bytes:
    return _event({"done": True})


def error_event(error: VoiceError) -> bytes:
    return _event({"error": {"code": error.code, "message": error.message}})


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
