"""The table of POST `/v1/audio/transcriptions`: a form's fields → what is asked; what was heard → bodies out.

Facts of the wire: openai-python 3.52 (types/audio/transcription_create_params.py, transcription.py,
transcription_verbose.py, transcription_stream_event.py). docs/openai.md is our own specification. Fields that OpenAI
does not have are ours; fields that nobody knows are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec

from voice_server.core.doors import transcribe_protocol
from voice_server.core.errors import BadMessage, UnknownBackend, UnknownFormat
from voice_server.core.text import captions
from voice_server.core.text.hearing import HearingDone, Segment, TextHeard
from voice_server.core.text.timings import word_times

FILES = ("file",)
MODELS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")  # they mean the first backend that listens
MEDIA_TYPES = {
    "json": "application/json",
    "text": "text/plain",
    "srt": captions.MEDIA_TYPES["srt"],
    "vtt": captions.MEDIA_TYPES["vtt"],
    "verbose_json": "application/json",
}
EVENTS = "text/event-stream"
_THEIRS = re.compile(r"whisper-\d+|gpt-[\w.-]*transcribe[\w.-]*", re.ASCII)
_HIGHEST_TEMPERATURE = 1.0
_ENDS = (".", "!", "?", "。", "！", "？")
_PAUSE_S = 0.25
_GRANULARITIES = ("segment", "word")
_PROMPTS = ("prompt", "initial_prompt")  # what an engine may call it


@dataclass(frozen=True, slots=True)
class Asked:
    model: str = ""
    language: str = ""
    prompt: str = ""
    response_format: str = "json"
    temperature: float | None = None
    granularities: tuple[str, ...] = ("segment",)
    stream: bool = False
    # Ours
    backend: str = ""
    opts: Mapping[str, Any] | None = None


# In


def asked_of(items: Iterable[tuple[str, str]]) -> Asked:
    """The fields of a form. Raises BadMessage and UnknownFormat."""
    pairs = [(name.removesuffix("[]"), value) for name, value in items]
    fields = dict(pairs)
    return Asked(
        model=fields.get("model", ""),
        language=fields.get("language", "").strip(),
        prompt=fields.get("prompt", ""),
        response_format=_format(fields.get("response_format", "")),
        temperature=_temperature(fields.get("temperature", "")),
        granularities=_granularities([value for name, value in pairs if name == "timestamp_granularities"]),
        stream=fields.get("stream", "").lower() in ("true", "1"),
        backend=fields.get("backend", ""),
        opts=_opts(fields.get("opts", "")),
    )


def _format(text: str) -> str:
    name = text or "json"
    if name not in MEDIA_TYPES:
        raise UnknownFormat(f"the formats are {', '.join(MEDIA_TYPES)}", field="response_format")
    return name


def _temperature(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _HIGHEST_TEMPERATURE:  # NaN is not, either
        raise BadMessage(f"temperature is a number from 0 to {_HIGHEST_TEMPERATURE:g}", field="temperature")
    return value


def _granularities(values: Sequence[str]) -> tuple[str, ...]:
    if any(value not in _GRANULARITIES for value in values):
        raise BadMessage(f"they are {' and '.join(_GRANULARITIES)}", field="timestamp_granularities")
    return tuple(values) or ("segment",)


def _opts(text: str) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (ValueError, RecursionError):
        raise BadMessage("opts is a JSON object", field="opts") from None


def recogniser_of(asked: Asked, names: Collection[str]) -> str:
    """The backend that is meant; "" is the first one. Raises UnknownBackend."""
    if asked.backend or asked.model in names:
        return asked.backend or asked.model
    if not asked.model or _THEIRS.fullmatch(asked.model):
        return ""
    raise UnknownBackend(f"the models that listen are {', '.join([*names, *MODELS])}", field="model")


def options_of(asked: Asked, known: Collection[str], languages: Collection[str]) -> dict[str, Any]:
    """Of the engine, as far as it has such options. Raises BadOption."""
    prompt = next((name for name in _PROMPTS if name in known), "")
    told: dict[str, Any] = {prompt: asked.prompt} if prompt and asked.prompt else {}
    if asked.temperature is not None and "temperature" in known:
        told["temperature"] = asked.temperature
    if "partials" in known and not asked.stream:
        told["partials"] = False  # nobody is shown what is tentative
    return transcribe_protocol.options_of(asked.language, told | dict(asked.opts or {}), known, languages)


# Out


def body(asked: Asked, done: HearingDone, language: str) -> bytes:
    """`language`: of the speech, as far as it is known."""
    match asked.response_format:
        case "text":
            return f"{done.text}\n".encode()
        case "srt":
            return captions.render(_cues(done), "srt").encode()
        case "vtt":
            return captions.render(_cues(done), "vtt").encode()
        case "verbose_json":
            return msgspec.json.encode(_verbose(asked, done, language))
    return msgspec.json.encode({"text": done.text, "usage": _usage(done)})


def _usage(done: HearingDone) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(done.duration_s, 2)}


def _cues(done: HearingDone) -> list[captions.Cue]:
    found = (
        captions.sentence_cues(one.text.strip(), one.start_s, one.end_s - one.start_s)
        for one in _sentences(done.segments)
    )
    return list(chain.from_iterable(found))


def _sentences(segments: Sequence[Segment]) -> list[Segment]:
    """An engine's segments end where it was certain; a subtitle ends where a sentence does, or the speaker pauses."""
    found: list[Segment] = []
    for one in segments:
        if found and one.start_s - found[-1].end_s < _PAUSE_S and not found[-1].text.rstrip().endswith(_ENDS):
            found[-1] = Segment(found[-1].text + one.text, found[-1].start_s, one.end_s)
        else:
            found.append(one)
    return found


def _verbose(asked: Asked, done: HearingDone, language: str) -> dict[str, Any]:
    told: dict[str, Any] = {"task": "transcribe", "language": language, "duration": round(done.duration_s, 3)}
    told |= {"text": done.text, "usage": _usage(done)}
    if "segment" in asked.granularities:
        told["segments"] = [_segment(number, one, asked.temperature) for number, one in enumerate(done.segments)]
    if "word" in asked.granularities:
        told["words"] = [word for one in done.segments for word in _words(one)]
    return told


def _segment(number: int, segment: Segment, temperature: float | None) -> dict[str, Any]:
    """The last five are there because typed clients need them; we do not know them, and say what disturbs nobody."""
    unknown = {"seek": 0, "tokens": [], "avg_logprob": 0.0, "compression_ratio": 1.0, "no_speech_prob": 0.0}
    times = {"start": round(segment.start_s, 3), "end": round(segment.end_s, 3)}
    return {"id": number, **times, "text": segment.text, "temperature": temperature or 0.0, **unknown}


def _words(segment: Segment) -> list[dict[str, Any]]:
    """Their times are estimated within the segment."""
    start_s = segment.start_s
    return [
        {"word": word.word, "start": round(start_s + word.start_s, 3), "end": round(start_s + word.end_s, 3)}
        for word in word_times(segment.text.strip(), segment.end_s - start_s)
    ]


# Server-sent events


@dataclass(slots=True)
class Deltas:
    """Text that only grows, as what was added to it."""

    told: str = ""

    def delta(self, heard: TextHeard) -> bytes:
        return self._grow(heard.text)

    def done(self, done: HearingDone) -> bytes:
        """What was still lacking, and the whole."""
        last = {"type": "transcript.text.done", "text": done.text, "usage": _usage(done)}
        return self._grow(done.text) + _event(last)

    def _grow(self, text: str) -> bytes:
        added, self.told = text[len(self.told) :], text
        return _event({"type": "transcript.text.delta", "delta": added}) if added else b""


def error_event(error: Mapping[str, Any]) -> bytes:
    """`error`: the body of an error as the HTTP doors have it."""
    return _event({"type": "error", **error})


def _event(message: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(message) + b"\n\n"
