"""The OpenAI doors: `/v1/audio/speech`, `/v1/models`, and `/v1/captions`, which is ours.

The bodies are in core/doors/openai_protocol.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from voice_server.core.audio import pcm
from voice_server.core.doors import openai_protocol as protocol
from voice_server.core.doors import transcriptions_protocol
from voice_server.core.errors import UnknownVoice, VoiceError
from voice_server.core.text import captions
from voice_server.gateway.bodies import read_body
from voice_server.gateway.encoders import CONTENT_TYPES, Encoder, content_type, encode_whole, encoder, is_costly
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import client_of, refusal
from voice_server.gateway.speech import Wanted, audio_of, collect, until_gone
from voice_server.gateway.streamed_speech import StreamedSpeech
from voice_server.gateway.visits import until_ready
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings

_DEFAULT_FORMAT = "mp3"
_NOBODY_READS = 499  # nginx's status for a client that left


@told(body=protocol.SpeechRequest, answers=(*CONTENT_TYPES, "text/event-stream"))
async def speech(request: Request) -> Response | StreamedSpeech:
    """Speech for a text, as OpenAI has it: it begins to flow with the first audio."""
    house: House = request.app.state.house
    try:
        asked = await read_body(request, protocol.SpeechRequest, house.limits.text)
        return await _answer(request, asked, house)
    except VoiceError as error:
        return refuse(error)
    except ClientDisconnect:
        return Response(status_code=_NOBODY_READS)


@told(body=protocol.CaptionsRequest, answers=tuple(captions.MEDIA_TYPES.values()))
async def subtitles(request: Request) -> Response:
    """Subtitles for a text, timed by what was spoken."""
    house: House = request.app.state.house
    try:
        asked = await read_body(request, protocol.CaptionsRequest, house.limits.text)
        backend, wanted = await _wanted(asked, house)
        settings = StreamSettings(live=False, client=client_of(request))
        events = await collect(backend, house.limits, wanted, settings, until_gone(request))
        cues = await asyncio.to_thread(captions.cues, events)  # 0.1 s for the longest text
    except VoiceError as error:
        return refuse(error)
    except ClientDisconnect:
        return Response(status_code=_NOBODY_READS)
    return Response(captions.render(cues, asked.format), media_type=captions.MEDIA_TYPES[asked.format])


async def models(request: Request) -> Response:
    """The backends as models, and OpenAI's names for the default ones."""
    house: House = request.app.state.house
    return JSONResponse(protocol.model_list(list(house.backends), _listeners(house)))


async def model(request: Request) -> Response:
    """One of them."""
    house: House = request.app.state.house
    name = request.path_params["model"]
    try:
        if name not in _listeners(house):
            protocol.backend_of(name, house.backends)
    except VoiceError as error:
        return refuse(error)
    return JSONResponse(protocol.model_of(name))


def _listeners(house: House) -> list[str]:
    """The models of POST /v1/audio/transcriptions."""
    return [*house.recognisers, *transcriptions_protocol.MODELS] if house.recognisers else []


def refuse(error: VoiceError) -> Response:
    status, headers = protocol.status_of(error), protocol.error_headers(error)
    return refusal(error, protocol.error_body(error), status=status, headers=headers)


async def _answer(request: Request, asked: protocol.SpeechRequest, house: House) -> Response | StreamedSpeech:
    name, rate = asked.response_format or _DEFAULT_FORMAT, asked.sample_rate or house.limits.stream.sample_rate
    backend, wanted = await _wanted(asked, house)
    encoding = encoder(name, rate)  # what it cannot do is told before anything is rendered
    settings = StreamSettings(live=asked.stream, sample_rate=rate, client=client_of(request))
    if not asked.stream and asked.stream_format != "sse":
        speech = audio_of(await collect(backend, house.limits, wanted, settings, until_gone(request)))
        file = await asyncio.to_thread(encode_whole, name, rate, speech)
        return Response(file, media_type=content_type(name))
    sound = _Sound(encoding, is_costly(name))
    body = _Events(sound, len(asked.input), rate) if asked.stream_format == "sse" else sound
    return StreamedSpeech(request, backend, house.limits, wanted, settings, body, refuse)


async def _wanted(asked: protocol.SpokenRequest, house: House) -> tuple[Backend, Wanted]:
    """Who is to speak, and what. Waits for a backend that is loading, as long as for one that is busy."""
    protocol.check(asked, house.limits)
    backend = house.backend(asked.backend or protocol.backend_of(asked.model or "", house.backends))
    await until_ready(backend, house.limits)
    voice = _voice(backend, protocol.voice_of(asked))
    can_design = backend.can_design(voice and backend.resolve_voice(voice))
    options = protocol.options_of(asked, backend.config.opts, can_design=can_design)
    return backend, Wanted(asked.input, voice, options)


def _voice(backend: Backend, name: str) -> str:
    """The name to ask the backend for: one of OpenAI's is good everywhere, if only as the default voice."""
    try:
        backend.resolve_voice(name)
    except UnknownVoice:
        if name not in protocol.VOICES:
            raise
        return ""
    return name


@dataclass(slots=True)
class _Sound:
    """The file itself."""

    encoder: Encoder
    is_costly: bool

    @property
    def content_type(self) -> str:
        return self.encoder.content_type

    def audio(self, samples: bytes) -> bytes:
        return self.encoder.push(samples)

    def end(self) -> bytes:
        return self.encoder.flush()

    def failure(self, error: VoiceError) -> bytes:
        return b""


@dataclass(slots=True)
class _Events:
    """The file in server-sent events, and how much it was."""

    sound: _Sound
    characters: int
    sample_rate: int
    audio_bytes: int = 0
    content_type: str = "text/event-stream"

    @property
    def is_costly(self) -> bool:
        return self.sound.is_costly

    def audio(self, samples: bytes) -> bytes:
        self.audio_bytes += len(samples)
        return self._delta(self.sound.audio(samples))

    def end(self) -> bytes:
        done = protocol.audio_done(self.characters, pcm.duration_s(self.audio_bytes, self.sample_rate))
        return self._delta(self.sound.end()) + done

    def failure(self, error: VoiceError) -> bytes:
        return protocol.audio_error(error)

    def _delta(self, data: bytes) -> bytes:
        return protocol.audio_delta(data) if data else b""
