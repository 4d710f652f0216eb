"""The door POST `/convert`: bare PCM in, a file of another format out. The page's download as MP3 comes from here.

The sound is encoded piece by piece while it is read, so that twenty minutes never lie in memory as PCM; the file is
sent when it is whole, because only then its head can tell its true length.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from voice_server.core.audio.pcm import SAMPLE_BYTES
from voice_server.core.doors.limits import ConvertLimits
from voice_server.core.errors import AudioTooLong, BadMessage, Overloaded, SlowClient, UnknownFormat, VoiceError
from voice_server.core.limits import StreamLimits
from voice_server.gateway.encoders import CONTENT_TYPES, Encoder, is_costly, whole_encoder
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import error_response

_DEFAULT_FORMAT = "mp3"
_NOBODY_READS = 499  # nginx's status for a client that left


@told(
    query={"format": "mp3, opus, aac, flac, wav or pcm; left out, mp3", "sample_rate": "of the body, in Hz"},
    answers=CONTENT_TYPES,
)
async def convert(request: Request) -> Response:
    """The body, PCM s16le mono, as a file of another format."""
    house: House = request.app.state.house
    try:
        encoder, name = _asked(request, house.limits.stream)
        _check_announced(request, house.limits.convert)
        with _seat(house):
            file = await _encoded(encoder, _pieces(request, house.limits.convert), costly=is_costly(name))
    except VoiceError as error:
        return error_response(error)
    except ClientDisconnect:
        return Response(status_code=_NOBODY_READS)
    return Response(file, media_type=encoder.content_type)


def _asked(request: Request, limits: StreamLimits) -> tuple[Encoder, str]:
    """Raises UnknownFormat, BadMessage."""
    name, rate = request.query_params.get("format", _DEFAULT_FORMAT), _sample_rate(request, limits)
    try:
        return whole_encoder(name, rate), name
    except UnknownFormat as error:  # here its field has another name than at most doors
        raise UnknownFormat(error.message, field=error.field if error.field == "sample_rate" else "format") from None


def _sample_rate(request: Request, limits: StreamLimits) -> int:
    asked = request.query_params.get("sample_rate", str(limits.sample_rate))
    rate = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else 0
    if not limits.sample_rate_min <= rate <= limits.sample_rate_max:
        told = f"the sample rate is a number from {limits.sample_rate_min} to {limits.sample_rate_max}"
        raise BadMessage(told, field="sample_rate")
    return rate


def _check_announced(request: Request, limits: ConvertLimits) -> None:
    """A body that says itself that it is too large is not read first. Raises AudioTooLong."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.body_bytes:
        raise _too_long(limits)


@contextlib.contextmanager
def _seat(house: House) -> Iterator[None]:
    """Raises Overloaded."""
    if house.conversions >= house.limits.convert.at_once:
        raise Overloaded("other files are being converted; try again in a second")
    house.conversions += 1
    try:
        yield
    finally:
        house.conversions -= 1


async def _encoded(encoder: Encoder, pieces: AsyncIterator[bytes], *, costly: bool) -> bytes:
    """Raises BadMessage, and what reading raises."""
    odd, total = b"", 0
    async for piece in pieces:
        total += len(piece)
        whole = odd + piece
        cut = len(whole) - len(whole) % SAMPLE_BYTES
        odd = whole[cut:]
        await _push(encoder, whole[:cut], costly=costly)
    if odd or not total:
        raise BadMessage("the body is PCM s16le, mono: two bytes for each sample" + ("; it is empty" * (not total)))
    return await asyncio.to_thread(encoder.flush)


async def _push(encoder: Encoder, pcm: bytes, *, costly: bool) -> None:
    if costly:
        await asyncio.to_thread(encoder.push, pcm)
    else:
        encoder.push(pcm)


async def _pieces(request: Request, limits: ConvertLimits) -> AsyncIterator[bytes]:
    """Raises AudioTooLong, SlowClient, ClientDisconnect."""
    stream, total = aiter(request.stream()), 0
    while (piece := await _next(stream, limits)) is not None:
        total += len(piece)
        if total > limits.body_bytes:
            raise _too_long(limits)
        yield piece


async def _next(stream: AsyncIterator[bytes], limits: ConvertLimits) -> bytes | None:
    try:
        return await asyncio.wait_for(anext(stream, None), limits.piece_s)
    except asyncio.TimeoutError:
        raise SlowClient(f"nothing came for {limits.piece_s:g} s; send the sound without pauses") from None


def _too_long(limits: ConvertLimits) -> AudioTooLong:
    return AudioTooLong(f"at most {limits.body_bytes} bytes, {limits.longest_s // 60} minutes at 48 kHz; send less")
