"""The table of WS `/tts`, the protocol of the VoxCPM WebSocket TTS server: JSON in; JSON and binary audio frames out.

docs/voxcpm-tts.md is its specification. Promises: what `decode` returns is of the documented types and ranges; the PCM
of a frame begins at a multiple of four bytes, so that a client may look at it in place; a request gets one last
message, and the last of its audio frames says that it is the last.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from voice_server.core import options
from voice_server.core.addresses import FileUrl, read_url
from voice_server.core.audio.pcm import duration_s
from voice_server.core.doors.limits import VoxcpmTtsLimits
from voice_server.core.errors import (
    BackendUnavailable,
    BadAudio,
    BadMessage,
    BadOption,
    ClientError,
    EmptyText,
    Overloaded,
    Poisoned,
    Runaway,
    SentenceFailed,
    TextTooLong,
    UnknownLora,
    UnknownVoice,
    VoiceError,
)
from voice_server.core.events import AudioChunk, Event, SentenceQueued, SentenceRendering, SentenceStarted
from voice_server.core.options import OptionSpec

STREAMING, NON_STREAMING = "streaming", "non_streaming"
STREAMING_FRAME, FULL_FRAME = 0x01, 0x02

# Of requests. `text` and the two ways to a file have rules of their own.
PARAMS: Mapping[str, OptionSpec] = {
    "mode": OptionSpec("choice", choices=(STREAMING, NON_STREAMING), default=STREAMING),
    "voice_id": OptionSpec("str", max=256),
    "prompt_text": OptionSpec("str", max=1024),
    "cfg_value": OptionSpec("float", 0.1, 10.0),
    "inference_timesteps": OptionSpec("int", 1, 50),
    "normalize": OptionSpec("bool"),
    "denoise": OptionSpec("bool"),
    "retry_badcase": OptionSpec("bool"),
    "retry_badcase_max_times": OptionSpec("int", 0, 10),
    "retry_badcase_ratio_threshold": OptionSpec("float", 1.0, 20.0),
}
_URL, _PATH = "prompt_wav_url", "prompt_wav_path"
_NO_PATH = "this server opens no file that a client names; name a voice_id"
_NO_URL = "this server calls no address that a client names, unless it is started with --allow-prompt-urls"
_OF_THE_DOOR = ("mode", "voice_id")  # the other parameters are for an engine
_NOT_FOR_ENGINES = (*_OF_THE_DOOR, "prompt_text", "denoise")  # voices bring their own words, no engine has a denoiser

_CODES: tuple[tuple[type[VoiceError], str], ...] = (
    (UnknownVoice, "VOICE_NOT_FOUND"),
    (TextTooLong, "TEXT_TOO_LONG"),
    (BackendUnavailable, "MODEL_NOT_LOADED"),
    (Overloaded, "QUEUE_FULL"),
    (SentenceFailed, "GENERATION_FAILED"),
    (BadAudio, "GENERATION_FAILED"),
    (Runaway, "GENERATION_FAILED"),
    (Poisoned, "GENERATION_FAILED"),
    (BadOption, "INVALID_PARAMS"),
    (BadMessage, "INVALID_PARAMS"),
    (EmptyText, "INVALID_PARAMS"),
    (UnknownLora, "INVALID_PARAMS"),
)
_INTERNAL_ERROR = "INTERNAL_ERROR"

_MAGIC = b"\xaa\x55"
_ALIGNMENT = 4
_FINAL_S = 0.01  # of audio kept back, so that the last frame holds some and can be told from the others
_TOLD_EVERY = 5  # streamed chunks
_BEGUN, _PER_CHUNK, _STREAMED_AT_MOST, _HALF, _ENCODING = 0.1, 0.01, 0.8, 0.5, 0.9  # of the way, as clients know it


class Refusal(ClientError):
    """What this protocol has an error code of its own for; `errors` says what is wrong with which parameter."""

    def __init__(
        self, name: str, message: str, request_id: str | None = None, errors: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.name = name
        self.request_id = request_id
        self.errors = dict(errors or {})


@dataclass(frozen=True, slots=True)
class TtsRequest:
    request_id: str
    text: str
    mode: str
    voice_id: str
    params: dict[str, Any]  # the rest of what the client set, also names that this protocol does not know
    prompt_url: FileUrl | None = None  # of a recording of the voice


@dataclass(frozen=True, slots=True)
class Cancel:
    request_id: str


@dataclass(frozen=True, slots=True)
class Ping:
    timestamp: Any  # given back as it came


class _Envelope(msgspec.Struct, frozen=True):
    type: Any = None
    request_id: Any = None
    params: Any = None
    timestamp: Any = None


_decoder = msgspec.json.Decoder(_Envelope)
_encoder = msgspec.json.Encoder()


# Client messages


def decode(data: str | None, limits: VoxcpmTtsLimits, *, takes_urls: bool = False) -> TtsRequest | Cancel | Ping:
    """The client's message; None is a binary one. `takes_urls`: a prompt may be named by URL. Raises Refusal."""
    if data is None:
        raise Refusal("UNSUPPORTED_FORMAT", "this door takes text messages only")
    try:
        message = _decoder.decode(data)
    except (ValueError, RecursionError):
        raise Refusal("INVALID_JSON", "a message is one JSON object") from None
    if message.type == "ping":
        return Ping(message.timestamp)
    if message.type == "cancel":
        return Cancel(_request_id(message, limits))
    if message.type == "tts_request":
        return _tts_request(message, limits, takes_urls)
    known = _known_id(message, limits)
    raise Refusal("UNKNOWN_MESSAGE_TYPE", "the type is tts_request, cancel or ping", known)


def _known_id(message: _Envelope, limits: VoxcpmTtsLimits) -> str | None:
    """What an answer may name the request by."""
    given = message.request_id
    return given if isinstance(given, str) and 0 < len(given) <= limits.request_id_chars else None


def _request_id(message: _Envelope, limits: VoxcpmTtsLimits) -> str:
    known = _known_id(message, limits)
    if known is None:
        what = f"text of 1 to {limits.request_id_chars} characters"
        raise Refusal("INVALID_PARAMS", f"request_id must be {what}", errors={"request_id": f"must be {what}"})
    return known


def _tts_request(message: _Envelope, limits: VoxcpmTtsLimits, takes_urls: bool) -> TtsRequest:
    request_id = _request_id(message, limits)
    if not isinstance(message.params, dict):
        raise Refusal("INVALID_PARAMS", "params must be an object", request_id, {"params": "must be an object"})
    given = {name: value for name, value in message.params.items() if value is not None}  # null: left out
    if errors := _problems(given, takes_urls):
        raise Refusal("INVALID_PARAMS", "; ".join(errors.values()), request_id, errors)
    text = given.pop("text")
    if len(text) > limits.text_chars:
        what = f"a text has at most {limits.text_chars} characters"
        raise Refusal("TEXT_TOO_LONG", what, request_id, {"text": what})
    rest = {name: value for name, value in given.items() if name not in (*_OF_THE_DOOR, _URL, _PATH)}
    prompt_url = read_url(given[_URL]) if given.get(_URL) else None
    return TtsRequest(request_id, text, given.get("mode", STREAMING), given.get("voice_id", ""), rest, prompt_url)


def _problems(given: Mapping[str, Any], takes_urls: bool) -> dict[str, str]:
    """By parameter, all of them: a person mends them in one go."""
    text = given.get("text")
    found = {} if isinstance(text, str) and text.strip() else {"text": "text must be a string that is not blank"}
    found |= {name: f"{name}: {why}" for name, why in _file_problems(given, takes_urls)}
    for name, spec in PARAMS.items():
        try:
            options.validate({name: given[name]} if name in given else {}, {name: spec})
        except BadOption as error:
            found[name] = error.message
    return found


def _file_problems(given: Mapping[str, Any], takes_urls: bool) -> Iterator[tuple[str, str]]:
    if given.get(_PATH, "") != "":
        yield _PATH, _NO_PATH
    if given.get(_URL, "") == "":
        return
    if not takes_urls:
        yield _URL, _NO_URL
        return
    try:
        read_url(given[_URL])
    except BadOption as error:
        yield _URL, error.message
    if given.get("voice_id"):
        yield _URL, "it and voice_id are two voices: leave one out"


def options_for(request: TtsRequest, known: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """What an engine with the `known` options is told, and the names of parameters that have no effect on it."""
    wanted = dict(request.params)
    if wanted.get("retry_badcase_max_times") == 0:
        wanted = {**wanted, "retry_badcase": False}
        del wanted["retry_badcase_max_times"]
    told = {name: value for name, value in wanted.items() if name in known and name not in _NOT_FOR_ENGINES}
    used = {*told, "prompt_text"} if request.prompt_url else told
    return told, [name for name in PARAMS if wanted.get(name) and name not in used]


def voice_name(voice_id: str, voices: Collection[str], categories: Collection[str]) -> str:
    """The voice that an id stands for: its name, which may follow its category and a hyphen."""
    if voice_id not in voices:
        for category in categories:
            if voice_id.startswith(f"{category}-"):
                return voice_id[len(category) + 1 :]
    return voice_id


# Server messages


class Replies:
    """What the events of one request become."""

    def __init__(self, request: TtsRequest, sample_rate: int) -> None:
        self._id = request.request_id
        self._streaming = request.mode == STREAMING
        self._rate = sample_rate
        self._state = "queued"
        self._kept: list[bytes] = []  # PCM that has not been sent
        self._sequence = 0
        self._chunks = 0
        self._bytes = 0

    @property
    def duration_s(self) -> float:
        return duration_s(self._bytes, self._rate)

    def accepted(self, ignored: Collection[str]) -> str:
        note = f"; without effect here: {', '.join(ignored)}" if ignored else ""
        return self._progress("queued", 0.0, "accepted" + note)

    def on(self, event: Event) -> list[str | bytes]:
        match event:
            case SentenceQueued(position, reason) if self._state == "queued":
                why = "all workers are busy" if reason == "busy" else "the model is loading"
                return [self._progress("queued", 0.0, f"place {position} in line: {why}")]
            case SentenceRendering() if self._state == "queued":
                return [self._progress("processing", 0.0, "a worker has begun")]
            case SentenceStarted() if self._state != "generating":
                return [self._progress("generating", _BEGUN if self._streaming else _HALF, "the first audio is there")]
            case AudioChunk(_, pcm):
                self._bytes += len(pcm)
                self._chunks += 1
                self._kept.append(pcm)
                return self._streamed() if self._streaming else []
        return []

    def ended(self) -> list[str | bytes]:
        """The last messages of an answer that is complete. Raises SentenceFailed when there was nothing in it."""
        if not self._bytes:
            raise SentenceFailed("there was nothing to speak in this text")
        pcm = b"".join(self._kept)
        if self._streaming:
            return [self._chunk(pcm, is_final=True), self._complete()]
        told = {"request_id": self._id, "sample_rate": self._rate, "duration": self.duration_s}
        encoding = self._progress("encoding", _ENCODING, "the audio is complete")
        return [encoding, encode_frame(FULL_FRAME, told, pcm), self._complete()]

    def cancelled(self) -> str:
        return _encode({"type": "complete", "request_id": self._id, "result": {"cancelled": True}})

    def _streamed(self) -> list[str | bytes]:
        kept = b"".join(self._kept)
        tail = 2 * int(_FINAL_S * self._rate)
        self._kept = [kept[-tail:]]
        if len(kept) <= tail:
            return []
        messages: list[str | bytes] = [self._chunk(kept[:-tail], is_final=False)]
        if self._chunks % _TOLD_EVERY == 0:
            way = min(_BEGUN + _PER_CHUNK * self._chunks, _STREAMED_AT_MOST)
            messages.append(self._progress("generating", round(way, 2), f"{self._chunks} chunks"))
        return messages

    def _chunk(self, pcm: bytes, *, is_final: bool) -> bytes:
        told = {"request_id": self._id, "sequence": self._sequence, "sample_rate": self._rate, "is_final": is_final}
        self._sequence += 1
        return encode_frame(STREAMING_FRAME, told, pcm)

    def _progress(self, state: str, progress: float, message: str) -> str:
        self._state = state
        told = {"state": state, "progress": progress, "message": message}
        return _encode({"type": "progress", "request_id": self._id, **told})

    def _complete(self) -> str:
        frames = self._sequence if self._streaming else 1
        told = {"duration": self.duration_s, "sample_rate": self._rate, "samples": self._bytes // 2, "chunks": frames}
        return _encode({"type": "complete", "request_id": self._id, "result": told})


def encode_frame(kind: int, metadata: Mapping[str, Any], pcm: bytes) -> bytes:
    told = _encoder.encode(metadata)
    told += b" " * (-len(told) % _ALIGNMENT)
    return _MAGIC + struct.pack(">BBI", kind, 0, len(told)) + told + struct.pack(">I", len(pcm)) + pcm


def encode_pong(ping: Ping, server_time: float) -> str:
    return _encode({"type": "pong", "timestamp": ping.timestamp, "server_time": server_time})


def encode_error(error: BaseException, request_id: str | None) -> str:
    """What went wrong with a request, or with a message that named none. A mistake of ours tells nothing of itself."""
    told: dict[str, Any] = {"code": code_of(error), "message": "this server made a mistake", "details": {}}
    if isinstance(error, VoiceError):
        told["message"] = error.message
    if errors := _errors(error):
        told["details"] = {"errors": errors}
    return _encode({"type": "error", "request_id": request_id, "error": told})


def code_of(error: BaseException) -> str:
    if isinstance(error, Refusal):
        return error.name
    return next((code for kind, code in _CODES if isinstance(error, kind)), _INTERNAL_ERROR)


def _errors(error: BaseException) -> dict[str, str]:
    if isinstance(error, Refusal):
        return error.errors
    if isinstance(error, VoiceError) and error.field:
        return {error.field.removeprefix("opts."): error.message}
    return {}


def _encode(message: dict[str, Any]) -> str:
    return _encoder.encode(message).decode()
