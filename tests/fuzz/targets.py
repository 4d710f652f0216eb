"""What is fuzzed: every parser that reads bytes of strangers, and the exceptions that it may raise.

Each target takes bytes and returns; anything it raises is a crash. A crash that was found becomes a row of the table of
that parser's own tests.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.requests import Request

from voice_server.config import ConfigError, load_config
from voice_server.core.doors import (
    cartesia_protocol,
    deepgram_protocol,
    elevenlabs_protocol,
    stream_tokens_protocol,
    transcribe_protocol,
    transcriptions_protocol,
    voxcpm_tts_protocol,
    voxcpmex_protocol,
    wyoming_protocol,
)
from voice_server.core.errors import TextTooLong, VoiceError
from voice_server.core.limits import Limits
from voice_server.core.text.sentences import SentenceSplitter
from voice_server.core.yaml_tree import read_tree
from voice_server.gateway.uploads import UploadRules, read_upload
from voice_server.voices.sample import check_sound, read_transcript
from voice_server.voices.sidecar import read_about
from voice_server.wire.frames import FrameDecoder, WireError

LIMITS = Limits()
Target = Callable[[bytes], None]


def _text_of(data: bytes) -> str:
    """As a WebSocket hands it on: it has refused what is no UTF-8."""
    return data.decode("utf-8", "ignore")


def _query_of(data: bytes) -> dict[str, str]:
    parts = _text_of(data).split("&")
    return dict(part.partition("=")[::2] for part in parts)


def frames(data: bytes) -> None:
    """Whole, and in two parts: the decoder must not see a difference."""
    assert _frames_of(data) == _frames_of(data[: len(data) // 2], data[len(data) // 2 :])


def _frames_of(*parts: bytes) -> list[str]:
    decoder, seen = FrameDecoder(), []
    try:
        for part in parts:
            seen += [repr(message) for message in decoder.feed(part)]
    except WireError:
        return ["WireError"]
    return seen


def _refusing(parse: Callable[[bytes], Any], *allowed: type[Exception]) -> Target:
    def target(data: bytes) -> None:
        with suppress(*allowed):
            parse(data)

    return target


def splitter(data: bytes) -> None:
    """Nothing is lost and nothing invented, however the text is cut into tokens."""
    text = _text_of(data)
    cutter, out = SentenceSplitter(LIMITS.text), []
    with suppress(TextTooLong):
        for begin in range(0, len(text), 7):
            out += cutter.push(text[begin : begin + 7])
        out += cutter.flush()
        assert "".join("".join(out).split()) == "".join(text.split())


def config(data: bytes) -> None:
    path = Path(tempfile.gettempdir()) / f"voice-server-fuzz-{os.getpid()}.yaml"
    path.write_bytes(data)
    try:
        load_config(path)
    except ConfigError:
        pass
    finally:
        path.unlink()


_RULES = UploadRules(("file",), "send a file", VoiceError("too large"), 1_000_000, 65_536, 16, 10.0)


def form(data: bytes) -> None:
    boundary = b"x"
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"multipart/form-data; boundary=" + boundary)],
    }
    messages = [{"type": "http.request", "body": data, "more_body": False}]

    async def receive() -> Mapping[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    with suppress(VoiceError):
        asyncio.run(read_upload(Request(scope, receive), _RULES))  # type: ignore[arg-type]


def form_fields(data: bytes) -> None:
    items = [tuple(part.partition("=")[::2]) for part in _text_of(data).split("&")]
    with suppress(VoiceError):
        transcriptions_protocol.asked_of(items)  # type: ignore[arg-type]


def wyoming(data: bytes) -> None:
    line, _, body = data.partition(b"\n")
    with suppress(VoiceError):
        wyoming_protocol.said(wyoming_protocol.header(line, LIMITS), body)


TARGETS: dict[str, Target] = {
    "frames": frames,
    "splitter": splitter,
    "stream_tokens": _refusing(lambda data: stream_tokens_protocol.decode(_text_of(data), LIMITS), VoiceError),
    "stream_tokens_query": _refusing(
        lambda data: stream_tokens_protocol.from_query(_query_of(data), LIMITS), VoiceError
    ),
    "cartesia": _refusing(lambda data: cartesia_protocol.decode(_text_of(data), LIMITS), VoiceError),
    "cartesia_context": lambda data: (cartesia_protocol.context_of(_text_of(data)), None)[1],
    "deepgram": _refusing(lambda data: deepgram_protocol.decode(_text_of(data), LIMITS), VoiceError),
    "deepgram_query": _refusing(lambda data: deepgram_protocol.from_query(_query_of(data), LIMITS), VoiceError),
    "elevenlabs": _refusing(lambda data: elevenlabs_protocol.decode(_text_of(data), LIMITS), VoiceError),
    "elevenlabs_context": lambda data: (elevenlabs_protocol.context_of(_text_of(data)), None)[1],
    "elevenlabs_key": lambda data: (elevenlabs_protocol.key_of(_text_of(data)), None)[1],
    "elevenlabs_query": _refusing(lambda data: elevenlabs_protocol.from_query(_query_of(data), LIMITS), VoiceError),
    "transcribe": _refusing(lambda data: transcribe_protocol.decode(_text_of(data), LIMITS), VoiceError),
    "transcribe_audio": _refusing(lambda data: transcribe_protocol.base64_pcm(_text_of(data)), VoiceError),
    "voxcpm_tts": _refusing(
        lambda data: voxcpm_tts_protocol.decode(_text_of(data), LIMITS.voxcpm_tts), voxcpm_tts_protocol.Refusal
    ),
    "voxcpmex": _refusing(lambda data: voxcpmex_protocol.decode(data, LIMITS), VoiceError),
    "wyoming": wyoming,
    "form": form,
    "form_fields": form_fields,
    "config": config,
    "yaml": lambda data: (read_tree(_text_of(data)), None)[1],
    "sidecar": _refusing(read_about, VoiceError),
    "transcript": _refusing(lambda data: read_transcript(data, LIMITS.voices), VoiceError),
    "wav": _refusing(lambda data: check_sound(data, LIMITS.voices), VoiceError),
}
