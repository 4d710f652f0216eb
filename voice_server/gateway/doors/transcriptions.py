"""POST `/v1/audio/transcriptions`: a file of sound in, its text out, as OpenAI has it.

The fields and bodies are in core/doors/transcriptions_protocol. Promises: what is too large or no sound is refused by
its head; with `stream`, whatever goes wrong before the first word is an honest status; a client that leaves stops it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from voice_server.core.doors import openai_protocol
from voice_server.core.doors import transcriptions_protocol as protocol
from voice_server.core.doors.limits import TranscriptionLimits
from voice_server.core.doors.transcriptions_protocol import Asked
from voice_server.core.errors import AudioTooLong, SlowClient, VoiceError
from voice_server.core.text.hearing import HearingDone
from voice_server.gateway.doors import openai
from voice_server.gateway.file_hearing import heard, heard_whole
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.speech import unless_gone
from voice_server.gateway.uploads import Upload, UploadRules, check_announced, read_upload, take_seat
from voice_server.gateway.visits import until_ready
from voice_server.logs import note
from voice_server.pool.decoding import check_header
from voice_server.stream.recogniser import Recogniser

_NOBODY_READS = 499  # nginx's status for a client that left
_FORM = {
    "file": "the sound: wav, mp3, flac or ogg",
    "model": "a backend that listens; OpenAI's names are the first one",
    "language": "of the speech, as in en; left out, the engine finds out",
    "prompt": "words that are likely, for engines that can use them",
    "response_format": "json, text, srt, vtt or verbose_json",
    "temperature": "0 to 1, for engines that have one",
    "timestamp_granularities[]": "segment and word, of verbose_json",
    "stream": "true: events with the text while it is heard",
    "backend": "as model",
    "opts": "a JSON object: options of the engine",
}
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


@told(form=_FORM, answers=(*dict.fromkeys(protocol.MEDIA_TYPES.values()), protocol.EVENTS))
async def transcriptions(request: Request) -> Response | _StreamedText:
    """The text of a file of sound."""
    house: House = request.app.state.house
    limits = house.limits.transcriptions
    rules = _rules(limits)
    try:
        check_announced(request, rules)
        await take_seat(house.transcriptions, limits.wait_s, "other files are being heard")
    except VoiceError as error:
        return _refuse(error, request)
    answer: Response | _StreamedText | None = None
    try:
        answer = await _answer(request, await read_upload(request, rules), house)
    except VoiceError as error:
        return _refuse(error, request)
    except ClientDisconnect:
        return Response(status_code=_NOBODY_READS)
    finally:
        if not isinstance(answer, _StreamedText):  # which keeps the seat to its own end
            house.transcriptions.release()
    return answer


def _rules(limits: TranscriptionLimits) -> UploadRules:
    most = f"a file has at most {limits.file_bytes // 2**20} MiB; send it as mp3, or in parts"
    return UploadRules(
        files=protocol.FILES,
        how="send multipart/form-data with the fields file and model",
        too_large=AudioTooLong(most, field="file"),
        file_bytes=limits.file_bytes,
        form_bytes=limits.form_bytes,
        form_fields=limits.form_fields,
        upload_s=limits.upload_s,
    )


def _refuse(error: VoiceError, request: Request) -> Response:
    """The connection of an upload that never comes to its end is of no more use."""
    response = openai.refuse(error)
    if isinstance(error, SlowClient) or "content-length" not in request.headers:
        response.headers["connection"] = "close"
    return response


async def _answer(request: Request, upload: Upload, house: House) -> Response | _StreamedText:
    asked = protocol.asked_of(upload.items)
    recogniser = house.recogniser(protocol.recogniser_of(asked, house.recognisers))
    await asyncio.to_thread(check_header, upload.sound, house.limits.transcriptions)
    await until_ready(recogniser, house.limits)
    options = protocol.options_of(asked, recogniser.config.opts, recogniser.languages)
    if asked.stream:
        recogniser.validate_options(options)
        return _StreamedText(request, house, recogniser, upload.sound, options)
    done = await unless_gone(request, heard_whole(recogniser, house.limits, upload.sound, options))
    return _whole(asked, done, recogniser)


def _whole(asked: Asked, done: HearingDone, recogniser: Recogniser) -> Response:
    known = recogniser.languages
    language = asked.language or (known[0] if len(known) == 1 else "")
    return Response(protocol.body(asked, done, language), media_type=protocol.MEDIA_TYPES[asked.response_format])


@dataclass(slots=True)
class _StreamedText:
    """An ASGI application: the answer with `stream`. Gives the seat back that the door took."""

    request: Request
    house: House
    recogniser: Recogniser
    sound: bytes
    options: dict[str, Any]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(self.request, self._run(scope, receive, send))
        except ClientDisconnect:
            pass
        finally:
            self.house.transcriptions.release()

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun, deltas = False, protocol.Deltas()
        async with aclosing(heard(self.recogniser, self.house.limits, self.sound, self.options)) as events:
            try:
                async for event in events:
                    data = deltas.done(event) if isinstance(event, HearingDone) else deltas.delta(event)
                    if data and not has_begun:
                        has_begun = True
                        await self._begin(send)
                    if data:
                        await send({"type": "http.response.body", "body": data, "more_body": True})
            except VoiceError as error:
                if not has_begun:
                    await openai.refuse(error)(scope, receive, send)
                    return
                note(error)
                last = protocol.error_event(openai_protocol.error_body(error))
                await send({"type": "http.response.body", "body": last, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _begin(self, send: Send) -> None:
        headers = {"content-type": protocol.EVENTS, **_HEADERS}
        coded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": coded})
