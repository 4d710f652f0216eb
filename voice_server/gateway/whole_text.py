"""The two doors for a text that is there already: POST `/tts` answers a WAV file, WS `/stream` the bare PCM."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.errors import BadMessage, EmptyText, SentenceFailed, TextTooLong, VoiceError
from voice_server.core.events import AnswerDone, AudioChunk, Event, Problem
from voice_server.core.limits import Limits
from voice_server.core.pcm import wav_header
from voice_server.gateway.house import House
from voice_server.gateway.security import error_response
from voice_server.stream.backend import Backend
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings


class TtsRequest(msgspec.Struct):
    """The body of POST /tts, as the original Voice Server has it, with `opts` and `backend` added."""

    text: str
    voice: str = ""
    opts: dict[str, Any] = {}
    backend: str = ""
    play_local: bool = False
    cfg_scale: float | None = None


async def tts(request: Request) -> Response:
    house: House = request.app.state.house
    try:
        wanted = await _read_body(request, house.limits)
        backend = house.backend(wanted.backend)
        rate = (await backend.pool.until_ready()).sample_rate
        speech = await _unless_gone(request, _collect(backend, wanted, rate, house.limits))
    except VoiceError as error:
        return error_response(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this
    headers = {"content-disposition": 'attachment; filename="output.wav"'}
    return Response(wav_header(rate, len(speech)) + speech, media_type="audio/wav", headers=headers)


async def _read_body(request: Request, limits: Limits) -> TtsRequest:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limits.text.body_bytes:
            raise TextTooLong(f"a request has at most {limits.text.body_bytes} bytes")
    try:
        wanted = msgspec.json.decode(bytes(body), type=TtsRequest)
    except (ValueError, RecursionError) as problem:
        what = str(problem) if isinstance(problem, msgspec.ValidationError) else "the body is one JSON object"
        raise BadMessage(what) from None
    if wanted.play_local:
        raise BadMessage("the server plays nothing itself; play the answer", field="play_local")
    if len(wanted.text) > limits.text.file_chars:
        raise TextTooLong(f"at most {limits.text.file_chars} characters at once; use /stream-tokens", field="text")
    return wanted


async def _collect(backend: Backend, wanted: TtsRequest, rate: int, limits: Limits) -> bytes:
    """The PCM of the whole text. Raises the first error of a sentence: half a file is no file."""
    pcm = bytearray()

    async def take(event: Event) -> None:
        if isinstance(event, AudioChunk):
            pcm.extend(event.pcm)
        elif isinstance(event, Problem):
            raise event.error

    settings = StreamSettings(live=False, sample_rate=rate)
    await speak(backend, wanted.text, wanted.voice, _options(backend, wanted), settings, limits, take)
    if not pcm:
        raise SentenceFailed("there was nothing to speak in this text", field="text")
    return bytes(pcm)


def _options(backend: Backend, wanted: TtsRequest) -> dict[str, Any]:
    """The original always sends `cfg_scale`, also to engines that have none."""
    if wanted.cfg_scale is not None and "cfg_scale" in backend.config.opts:
        return {"cfg_scale": wanted.cfg_scale, **wanted.opts}
    return wanted.opts


async def speak(
    backend: Backend,
    text: str,
    voice: str,
    opts: dict[str, Any],
    settings: StreamSettings,
    limits: Limits,
    send: Callable[[Event], Awaitable[None]],
) -> None:
    """One text through a stream of its own; `send` gets the events. Raises what is wrong with the request."""
    if not text.strip():
        raise EmptyText("there is no text to speak", field="text")
    outbox = Outbox(limits.stream)
    stream = Stream(backend, outbox, limits, settings)
    try:
        stream.set_voice(voice)
        stream.set_options(opts)
        stream.push(text)
        stream.finish()
        await outbox.run(send, lambda event: isinstance(event, AnswerDone))
    finally:
        stream.close()


async def _unless_gone(request: Request, work: Awaitable[bytes]) -> bytes:
    """The result of `work`, which is dropped as soon as the client leaves. Raises ClientDisconnect then."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait([working, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, VoiceError):
                await task


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def stream_text(websocket: WebSocket) -> None:
    """WS /stream?text=…&voice=…: PCM, then {"done": true}."""
    house: House = websocket.app.state.house
    await websocket.accept()

    async def send(event: Event) -> None:
        if isinstance(event, AudioChunk):
            await websocket.send_bytes(event.pcm)
        elif isinstance(event, Problem):
            await websocket.send_json({"error": event.error.message, "code": event.error.code})

    query = websocket.query_params
    watcher = asyncio.create_task(_cancel_when_left(websocket, asyncio.current_task()))
    try:
        backend = house.backend(query.get("backend", ""))
        await speak(backend, query.get("text", ""), query.get("voice", ""), {}, StreamSettings(), house.limits, send)
        await websocket.send_json({"done": True})
        await websocket.close()
    except VoiceError as error:
        await websocket.send_json({"error": error.message, "code": error.code})
        await websocket.close(error.close_code or 1008, error.code)
    except WebSocketDisconnect:
        pass
    finally:
        watcher.cancel()


async def _cancel_when_left(websocket: WebSocket, door: asyncio.Task[Any] | None) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
    if door:
        door.cancel()
