"""The doors of the voices: list, make, hear, fetch and delete them, on the folder that every backend clones from.

A voice that was made here is there for every door at once. Paths are those of the store; no client's word becomes part
of one. The fields are in core/doors/voices_protocol.
"""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Collection
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response

from voice_server.core.audio.repeats import RepeatKey
from voice_server.core.doors import openai_protocol, transcriptions_protocol
from voice_server.core.doors import voices_protocol as protocol
from voice_server.core.doors.transcriptions_protocol import Asked
from voice_server.core.errors import (
    BadMessage,
    SampleTooLarge,
    SlowClient,
    TextTooLong,
    Unauthorized,
    UnknownVoice,
    VoiceError,
)
from voice_server.core.limits import VoiceLimits
from voice_server.core.text.preview_texts import preview_text
from voice_server.gateway.encoders import encode_whole
from voice_server.gateway.file_hearing import heard_whole
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import client_of, refusal
from voice_server.gateway.speech import Wanted, audio_of, collect, unless_gone, until_cancelled
from voice_server.gateway.uploads import Upload, UploadRules, check_announced, read_upload, seat
from voice_server.gateway.visits import until_ready
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings
from voice_server.voices import MEDIA_TYPES, About, Sample

_NOBODY_READS = 499  # nginx's status for a client that left
_FORM = {
    "audio_sample": "the sound, a file; also as `file`",
    "name": "of the voice",
    "transcript": "the words of the sound; also as `ref_text`. `auto`: those that a backend hears which listens",
    "language": "as a BCP 47 tag",
    "consent": "of the person who speaks",
    "licence": "of the sound; also as `license`",
    "aliases": "more names, with commas between them",
    "default_of": "backends whose default voice it is to be, with commas between them",
}


@told(query={"backend": "those that it can speak; without it, those of every backend", "model": "the same"})
async def voices(request: Request) -> Response:
    """The voices of a backend, or of all: those of engines, and those made from a sample."""
    house: House = request.app.state.house
    try:
        name = _asked_backend(request, house)
    except VoiceError as error:
        return refuse(error)
    asked = [house.backends[name]] if name else house.backends.values()
    engines = [protocol.engine_voice(voice, one.name) for one in asked for voice in _spoken_by_engine(one)]
    cloned = [_told(house, sample) for sample in house.voices.samples.values()]
    spoken = [voice for voice in cloned if not name or name in voice["backends"]]
    return JSONResponse({"voices": engines + spoken, "limits": protocol.told_limits(house.limits.voices)})


@told(form=_FORM)
async def create(request: Request) -> Response:
    """A voice from a recording. It can be used as soon as this is answered."""
    house: House = request.app.state.house
    try:
        _refuse_strangers(request, house)
        rules = _rules(house.limits.voices)
        check_announced(request, rules)
        async with seat(
            house.uploads, house.limits.voices.upload_wait_s, "other recordings are being made into voices"
        ):
            upload = await read_upload(request, rules)
            sample, proposed = await _make(upload, house)
    except VoiceError as error:
        return _refuse_upload(error, request)
    except ClientDisconnect:
        return Response(status_code=_NOBODY_READS)
    voice = _told(house, sample) | ({} if proposed is None else {"proposed_transcript": proposed})
    return JSONResponse(protocol.created(voice, int(time.time())))


async def delete(request: Request) -> Response:
    """Deletes a voice that was made from a sample, and all that is kept of it."""
    house: House = request.app.state.house
    name = request.path_params["name"]
    try:
        _refuse_strangers(request, house)
        _sample(house, name)
        await asyncio.to_thread(house.voices.remove, name)
        house.previews.forget()
    except VoiceError as error:
        return refuse(error)
    return JSONResponse(protocol.deleted(name))


@told(answers=tuple(dict.fromkeys(MEDIA_TYPES.values())))
async def sample(request: Request) -> Response:
    """The recording that a voice was made from, as it was sent."""
    house: House = request.app.state.house
    try:
        return await file_of(_sample(house, request.path_params["name"]))
    except VoiceError as error:
        return refuse(error)


@told(
    query={"backend": "who is to speak; without it, the first that can", "text": "else a sentence in its language"},
    answers=("audio/wav",),
)
async def preview(request: Request) -> Response:
    """A short sentence in this voice."""
    house: House = request.app.state.house
    try:
        sound = await unless_gone(request, _preview(request, house))
    except VoiceError as error:
        return refuse(error)
    except ClientDisconnect:
        return Response(status_code=_NOBODY_READS)
    return Response(sound, media_type="audio/wav", headers={"cache-control": "no-cache"})


def refuse(error: VoiceError) -> Response:
    return refusal(error, protocol.error_body(error), headers=openai_protocol.error_headers(error))


async def file_of(sample: Sample) -> FileResponse:
    """Its original. Raises UnknownVoice when somebody has just taken it away."""
    path = sample.original
    try:
        found = await asyncio.to_thread(path.lstat)
    except OSError:
        raise _gone() from None
    if not stat.S_ISREG(found.st_mode):  # it was a file when it became a voice
        raise _gone()
    headers = {"x-content-type-options": "nosniff"}  # it came from outside, and is sent from where the page lives
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix.lower()], stat_result=found, headers=headers)


def _gone() -> UnknownVoice:
    return UnknownVoice("the recording of this voice is gone", field="name")


# Lists


def _asked_backend(request: Request, house: House) -> str:
    """ "" is all of them. Raises UnknownBackend."""
    backend, model = (request.query_params.get(name, "") for name in ("backend", "model"))
    if not (backend or model):
        return ""
    return house.backend(backend or openai_protocol.backend_of(model, house.backends)).name


def _spoken_by_engine(backend: Backend) -> list[str]:
    return [name for name in backend.voices if not backend.sample(name)]


def _engines(house: House) -> dict[str, Collection[str]]:
    """The voices that each backend has of its own."""
    ready = {name: backend.pool.ready for name, backend in house.backends.items()}
    return {name: found.voices for name, found in ready.items() if found}


def _told(house: House, sample: Sample) -> dict[str, Any]:
    able = [name for name, backend in house.backends.items() if backend.sample(sample.name)]
    about = {
        "language": sample.about.language,
        "transcript": sample.transcript,
        "consent": sample.about.consent,
        "licence": sample.about.licence,
        "duration_s": round(sample.duration_s, 2),
        "aliases": list(sample.about.aliases),
        "default_of": list(sample.about.default_of),
    }
    return protocol.sample_voice(sample.name, able, about)


def _sample(house: House, name: str) -> Sample:
    """Raises UnknownVoice and BadMessage."""
    protocol.check_samples_voice(name, house.voices.samples, _engines(house))
    return house.voices.samples[name]


# Making one


def _refuse_strangers(request: Request, house: House) -> None:
    """A browser sends a form to anybody, without asking first: where no token is wanted, a page from anywhere could
    change the voices of whoever looks at it. Raises Unauthorized."""
    if request.headers.get("sec-fetch-site") == "cross-site" and not house.gate.is_guarded:
        raise Unauthorized("a web page from elsewhere may change voices only on a server with a token")


def _refuse_upload(error: VoiceError, request: Request) -> Response:
    """An upload that said no end, or never comes to it, is cut off; of others the server reads the rest, and drops it:
    only then do all clients see the answer."""
    response = refuse(error)
    if isinstance(error, SlowClient) or "content-length" not in request.headers:
        response.headers["connection"] = "close"
    return response


def _rules(limits: VoiceLimits) -> UploadRules:
    most_mib, most_s = limits.sample_bytes // 2**20, limits.sample_max_s
    too_large = f"a sample has at most {most_mib} MiB; {most_s:g} s of one voice are enough"
    return UploadRules(
        files=protocol.FILES,
        how="send multipart/form-data with the fields audio_sample (a file) and name",
        too_large=SampleTooLarge(too_large, field="audio_sample"),
        file_bytes=limits.sample_bytes,
        form_bytes=limits.form_bytes,
        form_fields=limits.form_fields,
        upload_s=limits.upload_s,
    )


async def _make(upload: Upload, house: House) -> tuple[Sample, str | None]:
    """The voice, and what its words seem to be where nobody has said it. Raises what `_add` raises."""
    transcript = protocol.field(upload.fields, "transcript")
    if transcript not in ("", protocol.AUTO):
        return await _add(upload, house, transcript), None
    if transcript and not house.recognisers:
        raise BadMessage("no backend listens here: send the transcript itself", field="transcript")
    sample = await _add(upload, house, "")
    proposed = await _proposed(house, sample)
    if transcript and proposed:
        sample = await _add(upload, house, proposed)
    return sample, proposed


async def _proposed(house: House, sample: Sample) -> str | None:
    """None where nobody can tell: a voice is not lost for that."""
    try:
        recogniser = house.recogniser("")
        await until_ready(recogniser, house.limits)
        asked = Asked(language=sample.about.language)
        options = transcriptions_protocol.options_of(asked, recogniser.config.opts, recogniser.languages)
        sound = await asyncio.to_thread(sample.path.read_bytes)
        hearing = heard_whole(recogniser, house.limits, sound, options)
        text = (await asyncio.wait_for(hearing, house.limits.transcriptions.proposal_s)).text
    except (VoiceError, OSError, asyncio.TimeoutError):
        return None
    return text[: house.limits.voices.transcript_chars]


async def _add(upload: Upload, house: House, transcript: str) -> Sample:
    """Raises BadMessage, VoiceExists, BadSample and SampleTooLarge."""
    protocol.check_form(upload.fields)
    name = protocol.field(upload.fields, "name")
    protocol.check_name(name, _engines(house))
    about = About(
        language=protocol.field(upload.fields, "language"),
        consent=protocol.field(upload.fields, "consent"),
        licence=protocol.field(upload.fields, "licence"),
        aliases=protocol.names(upload.fields, "aliases"),
        default_of=protocol.names(upload.fields, "default_of"),
    )
    return await asyncio.to_thread(house.voices.add, name, upload.sound, upload.suffix, transcript, about)


# Hearing one


async def _preview(request: Request, house: House) -> bytes:
    """Raises UnknownBackend, UnknownVoice, TextTooLong, and what rendering raises."""
    name = request.path_params["name"]
    backend = _speaker(house, request.query_params.get("backend", ""), name)
    await until_ready(backend, house.limits)
    voice = backend.resolve_voice(name)
    text = _text(request.query_params.get("text", ""), house.voices.samples.get(voice), house.limits.voices)
    asked = backend.request(text, voice, backend.default_options)
    key = RepeatKey.of(text, asked.voice, asked.options, {"backend": backend.name})
    return await house.previews.get(key, lambda: _render(backend, house, Wanted(text, voice), client_of(request)))


def _speaker(house: House, wanted: str, name: str) -> Backend:
    """Raises UnknownBackend."""
    able = (backend for backend in house.backends.values() if name in backend.voices)
    return house.backend(wanted) if wanted else next(able, house.default)


def _text(asked: str, sample: Sample | None, limits: VoiceLimits) -> str:
    if len(asked) > limits.preview_chars:
        raise TextTooLong(f"a preview has at most {limits.preview_chars} characters", field="text")
    return asked or preview_text(sample.about.language if sample else "")


async def _render(backend: Backend, house: House, wanted: Wanted, client: str) -> bytes:
    settings = StreamSettings(live=False, sample_rate=house.limits.stream.sample_rate, client=client)
    events = await collect(backend, house.limits, wanted, settings, until_cancelled())
    return encode_whole("wav", settings.sample_rate, audio_of(events))
