"""ElevenLabs' HTTP doors: a text as a file or as a stream, with or without the times of its characters, and voices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from voice_server.core.doors import elevenlabs_protocol as protocol
from voice_server.core.doors.elevenlabs_protocol import Alignment, OutputFormat, SpeechRequest, Timeline
from voice_server.core.errors import TextTooLong, UnknownVoice, VoiceError
from voice_server.core.events import Event
from voice_server.gateway.bodies import read_body
from voice_server.gateway.doors.elevenlabs_audio import encoder_of, is_slow, whole_file
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import client_of, refusal
from voice_server.gateway.speech import Wanted, audio_of, collect, until_gone
from voice_server.gateway.streamed_speech import Body, StreamedSpeech
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings

Spoken = Response | StreamedSpeech

_LINES = "application/x-ndjson"
_AUDIO = ("audio/mpeg", "audio/pcm", "audio/wav", "audio/basic", "audio/ogg")
_QUERY = {"output_format": "a codec and a sample rate, as in pcm_24000 or mp3_44100_128"}


def refuse(error: VoiceError) -> Response:
    return refusal(error, protocol.error_body(error))


def backend_of(house: House, model: str | None) -> Backend:
    return house.backend(model if model in house.backends else "")


@told(body=SpeechRequest, query=_QUERY, answers=_AUDIO)
async def convert(request: Request) -> Response:
    """A text as a file, as ElevenLabs has it."""
    return await _whole(
        request, lambda order, file, _: Response(file, media_type=encoder_of(order.format).content_type)
    )


@told(body=SpeechRequest, query=_QUERY)
async def convert_with_timestamps(request: Request) -> Response:
    """A text as a file in base64, and when each of its characters is heard."""
    return await _whole(
        request,
        lambda _, file, times: Response(protocol.timed_audio(file, times), media_type="application/json"),
    )


@told(body=SpeechRequest, query=_QUERY, answers=_AUDIO)
async def stream(request: Request) -> Spoken:
    """A text as a file that begins with its first sentence."""
    return await _streamed(request, _AudioBody, StreamedSpeech)


@told(body=SpeechRequest, query=_QUERY, answers=(_LINES,))
async def stream_with_timestamps(request: Request) -> Spoken:
    """Lines of JSON. Those with audio come at once, the times of a sentence when it has ended."""
    return await _streamed(request, _TimedBody, _TimedSpeech)


# What is wanted


@dataclass(frozen=True, slots=True)
class _Order:
    backend: Backend
    wanted: Wanted
    format: OutputFormat


async def _order(request: Request, house: House) -> _Order:
    """Raises what is wrong with the request."""
    query = protocol.from_query(request.query_params, house.limits)
    wanted = protocol.output_format(query.output_format, house.limits)
    encoder_of(wanted)  # whether it can be made here
    body = await read_body(request, SpeechRequest, house.limits.text)
    backend = backend_of(house, body.model_id)
    options = protocol.options_of(body.voice_settings, body.seed, backend.config.opts)
    return _Order(backend, Wanted(body.text, request.path_params["voice"], options), wanted)


# As a whole

_Answer = Callable[[_Order, bytes, Alignment], Response]


async def _whole(request: Request, answer: _Answer) -> Response:
    house: House = request.app.state.house
    try:
        order = await _order(request, house)
        if len(order.wanted.text) > house.limits.text.file_chars:
            raise TextTooLong(f"at most {house.limits.text.file_chars} characters at once; use /stream", field="text")
        settings = _settings(request, order, live=False)
        events = await collect(order.backend, house.limits, order.wanted, settings, until_gone(request))
        file = await asyncio.to_thread(whole_file, order.format, audio_of(events))
    except VoiceError as error:
        return refuse(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this
    timeline = Timeline()
    times = [alignment for event in events if (alignment := timeline.take(event))]
    return answer(order, file, protocol.joined(times))


def _settings(request: Request, order: _Order, *, live: bool) -> StreamSettings:
    return StreamSettings(live=live, sample_rate=order.format.sample_rate, client=client_of(request))


# As a stream


class _AudioBody:
    def __init__(self, wanted: OutputFormat) -> None:
        encoder = encoder_of(wanted)
        self.content_type = encoder.content_type
        self.is_costly = is_slow(wanted)
        self.audio = encoder.push
        self.end = encoder.flush

    def failure(self, error: VoiceError) -> bytes:
        return b""


class _TimedBody:
    """Each line has some audio, or the times of a sentence whose audio came before."""

    content_type = _LINES

    def __init__(self, wanted: OutputFormat) -> None:
        self._encoder = encoder_of(wanted)
        self._timeline = Timeline()
        self.is_costly = is_slow(wanted)

    def audio(self, pcm: bytes) -> bytes:
        return _lines(self._encoder.push(pcm))

    def times(self, event: Event) -> bytes:
        alignment = self._timeline.take(event)
        return _line(b"", alignment) if alignment else b""

    def end(self) -> bytes:
        return _lines(self._encoder.flush())

    def failure(self, error: VoiceError) -> bytes:
        return protocol.error_line(error)


class _TimedSpeech(StreamedSpeech):
    """The times of a sentence go out behind its audio."""

    async def _take(self, event: Event) -> None:
        assert isinstance(self.body, _TimedBody)
        if line := self.body.times(event):
            await self._say(line)
        await StreamedSpeech._take(self, event)


def _lines(data: bytes) -> bytes:
    return b"".join(_line(piece, None) for piece in protocol.pieces(data))


def _line(data: bytes, alignment: Alignment | None) -> bytes:
    return protocol.timed_audio(data, alignment) + b"\n"


async def _streamed(request: Request, begin: Callable[[OutputFormat], Body], kind: type[StreamedSpeech]) -> Spoken:
    house: House = request.app.state.house
    try:
        order = await _order(request, house)
    except VoiceError as error:
        return refuse(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this
    settings = _settings(request, order, live=True)
    return kind(request, order.backend, house.limits, order.wanted, settings, begin(order.format), refuse)


# Voices


async def voices(request: Request) -> Response:
    """The voices of the default backend, as ElevenLabs' clients want them."""
    return JSONResponse({"voices": _voices(request)})


async def voices_v2(request: Request) -> Response:
    """The voices, as the first and only page of ElevenLabs' second version."""
    found = _voices(request)
    return JSONResponse({"voices": found, "has_more": False, "total_count": len(found), "next_page_token": None})


async def voice(request: Request) -> Response:
    """One voice of the default backend, also by its alias."""
    house: House = request.app.state.house
    try:
        name = house.default.resolve_voice(request.path_params["voice"])
    except UnknownVoice as error:
        return refuse(error)
    return JSONResponse(_described(house.default, name))


def _voices(request: Request) -> list[dict[str, Any]]:
    backend: Backend = request.app.state.house.default
    return [_described(backend, name) for name in backend.voices]


def _described(backend: Backend, name: str) -> dict[str, Any]:
    ready = backend.pool.ready
    return protocol.describe_voice(name, is_cloned=ready is not None and name not in ready.voices)
