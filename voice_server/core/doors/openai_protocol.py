"""The table of the OpenAI doors: request bodies in → what is to be said; audio, errors and lists → bodies out.

Facts of the wire: openai-python 3.52 (types/audio/speech_create_params.py, _base_client.py for retries), and
what livekit, pipecat and Open WebUI make of it. docs/openai.md is our own specification. Keys that OpenAI does not have
are ours; keys that nobody knows are ignored.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from voice_server.core.errors import BadMessage, BadOption, TextTooLong, UnknownBackend, UnknownVoice, VoiceError
from voice_server.core.limits import Limits

MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")  # names that clients send unasked; they mean the default backend
VOICES = frozenset(  # clients refuse to send others
    {"alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"}
)
OWNER = "voice-server"
_THEIRS = re.compile(r"(tts|gpt)-[\w.-]+", re.ASCII)  # what a model of OpenAI is called, also a later one
_STATUS: dict[type[VoiceError], int] = {UnknownVoice: 400, TextTooLong: 400}  # OpenAI's own; pipecat catches only 400
_PARAM = {"text": "input", "token": "input"}  # a field of ours: theirs

Speed = Annotated[float, Meta(ge=0.25, le=4.0)]


class VoiceId(msgspec.Struct, frozen=True):
    id: str


class SpeechRequest(msgspec.Struct, frozen=True):
    """The body of POST /v1/audio/speech. null is as good as nothing: LiteLLM sends it."""

    input: str
    model: str | None = None
    voice: str | VoiceId | None = None
    response_format: str | None = None
    speed: Speed | None = None
    instructions: str | None = None
    stream_format: Literal["audio", "sse"] | None = None
    # Ours
    stream: bool = True  # False: one file with true lengths in its head
    sample_rate: int | None = None
    opts: dict[str, Any] = {}
    backend: str = ""


class CaptionsRequest(msgspec.Struct, frozen=True):
    """The body of POST /v1/captions; the keys it shares with SpeechRequest mean the same."""

    input: str
    model: str | None = None
    voice: str | VoiceId | None = None
    format: Literal["srt", "vtt"] = "srt"
    speed: Speed | None = None
    instructions: str | None = None
    opts: dict[str, Any] = {}
    backend: str = ""


SpokenRequest = SpeechRequest | CaptionsRequest


# What was said


def check(request: SpokenRequest, limits: Limits) -> None:
    """Raises TextTooLong and BadMessage."""
    longest, lowest, highest = limits.text.file_chars, limits.stream.sample_rate_min, limits.stream.sample_rate_max
    if len(request.input) > longest:
        raise TextTooLong(f"input has at most {longest} characters", field="input")
    rate = request.sample_rate if isinstance(request, SpeechRequest) else None
    if rate is not None and not lowest <= rate <= highest:
        raise BadMessage(f"sample_rate is {lowest} to {highest} Hz", field="sample_rate")


def voice_of(request: SpokenRequest) -> str:
    """The name of the voice; "" is the default."""
    return request.voice.id if isinstance(request.voice, VoiceId) else request.voice or ""


def backend_of(model: str, backends: Collection[str]) -> str:
    """The backend that a model's name stands for; "" is the default one. Raises UnknownBackend."""
    if model in backends:
        return model
    if not model or _THEIRS.fullmatch(model):
        return ""
    raise UnknownBackend(f"this server's models are {', '.join([*backends, *MODELS])}", field="model")


def options_of(request: SpokenRequest, known: Collection[str], *, can_design: bool) -> dict[str, Any]:
    """The options of the render, of those that the backend knows. Raises BadOption.

    Instructions go to an engine that takes some, or describe a new voice where no sample's voice was asked for.
    Elsewhere they are ignored: OpenAI's own older models do that.
    """
    told: dict[str, Any] = {}
    if "speed" in known and request.speed is not None:
        told["speed"] = request.speed
    elif request.speed not in (None, 1.0):
        raise BadOption("this backend has one pace: leave speed out, or make it 1.0", field="speed")
    if request.instructions and "instructions" in known:
        told["instructions"] = request.instructions
    elif request.instructions and can_design:
        told["design"] = request.instructions
    return {**told, **request.opts}


# Errors


def status_of(error: VoiceError) -> int:
    return _STATUS.get(type(error), error.http_status)


def error_headers(error: VoiceError) -> dict[str, str]:
    """What the SDK is to do: it tries again after 429 and 5xx, twice, unless it is told that this is of no use."""
    status = status_of(error)
    if retry_headers := error.retry_headers:
        return {**retry_headers, "x-should-retry": "true"}
    return {"x-should-retry": "false"} if status >= 500 else {}  # a sentence that failed on two workers


def error_body(error: VoiceError) -> dict[str, Any]:
    kind = "invalid_request_error" if status_of(error) < 500 else "server_error"
    code = "model_not_found" if isinstance(error, UnknownBackend) else error.code
    return {"error": {"message": error.message, "type": kind, "param": _param(error), "code": code}}


def _param(error: VoiceError) -> str | None:
    """The key that is wrong. msgspec's own messages end with its path."""
    path = re.search(r" - at `\$\.([^`]+)`$", error.message)
    field = error.field or (path[1] if path else None)
    return _PARAM.get(field, field.removeprefix("opts.")) if field else None


# Server-sent events


def audio_delta(data: bytes) -> bytes:
    return _sse({"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()})


def audio_done(characters: int, audio_s: float) -> bytes:
    """Usage is counted in what there is: characters that came in, milliseconds of audio that went out."""
    spoken_ms = round(audio_s * 1000)
    usage = {"input_tokens": characters, "output_tokens": spoken_ms, "total_tokens": characters + spoken_ms}
    return _sse({"type": "speech.audio.done", "usage": usage})


def audio_error(error: VoiceError) -> bytes:
    return _sse({"type": "speech.audio.error", **error_body(error)})


def _sse(message: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(message) + b"\n\n"


# Lists


def model_list(backends: Sequence[str], listeners: Sequence[str] = ()) -> dict[str, Any]:
    return {"object": "list", "data": [model_of(name) for name in dict.fromkeys([*backends, *MODELS, *listeners])]}


def model_of(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}
