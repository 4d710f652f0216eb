"""The two doors for a text that is there already: POST `/tts` answers a WAV file, WS `/stream` the bare PCM."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.audio.pcm import wav_header
from voice_server.core.errors import BadMessage, GoingAway, SlowClient, TextTooLong, VoiceError
from voice_server.core.events import AudioChunk, Event, Problem
from voice_server.core.limits import Limits
from voice_server.gateway.bodies import read_body
from voice_server.gateway.house import House
from voice_server.gateway.openapi import told
from voice_server.gateway.security import client_of, error_response
from voice_server.gateway.sockets import NORMAL_CLOSURE, abort, refuse_and_close, say_and_close, until_left
from voice_server.gateway.speech import Wanted, audio_of, collect, speak, unless_gone, until_gone
from voice_server.gateway.visits import until_ready
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings


class TtsRequest(msgspec.Struct):
    """The body of POST /tts, as the original Voice Server has it, with `opts` and `backend` added."""

    text: str
    voice: str = ""
    opts: dict[str, Any] = {}
    backend: str = ""
    play_local: bool = False
    cfg_scale: float | None = None


@told(body=TtsRequest, answers=("audio/wav",))
async def tts(request: Request) -> Response:
    """Speak a whole text: a WAV file at the engine's own rate."""
    house: House = request.app.state.house
    try:
        wanted = await _read_request(request, house.limits)
        backend = house.backend(wanted.backend)
        rate = (await unless_gone(request, until_ready(backend, house.limits))).sample_rate
        settings = StreamSettings(live=False, sample_rate=rate, client=client_of(request))
        speech = audio_of(await collect(backend, house.limits, _said(backend, wanted), settings, until_gone(request)))
    except VoiceError as error:
        return error_response(error)
    except ClientDisconnect:
        return Response(status_code=499)  # nobody reads this
    headers = {"content-disposition": 'attachment; filename="output.wav"'}
    return Response(wav_header(rate, len(speech)) + speech, media_type="audio/wav", headers=headers)


async def stream_text(websocket: WebSocket) -> None:
    """`?text=…&voice=…`: PCM, then {"done": true}."""
    house: House = websocket.app.state.house
    await websocket.accept()
    try:
        await _stream(websocket, house)
    except SlowClient:
        abort(websocket)
    except VoiceError as error:
        await refuse_and_close(websocket, error, _problem(error))
    except WebSocketDisconnect:
        pass


async def _read_request(request: Request, limits: Limits) -> TtsRequest:
    wanted = await read_body(request, TtsRequest, limits.text)
    if wanted.play_local:
        raise BadMessage("the server plays nothing itself; play the answer", field="play_local")
    if len(wanted.text) > limits.text.file_chars:
        raise TextTooLong(f"at most {limits.text.file_chars} characters at once; use /stream-tokens", field="text")
    return wanted


async def _stream(websocket: WebSocket, house: House) -> None:
    query = websocket.query_params
    wanted = TtsRequest(query.get("text", ""), query.get("voice", ""))

    async def send(event: Event) -> None:
        if isinstance(event, AudioChunk):
            await websocket.send_bytes(event.pcm)
        elif isinstance(event, Problem):
            await websocket.send_text(_problem(event.error))

    backend = house.backend(query.get("backend", ""))
    settings = StreamSettings(client=client_of(websocket))
    listener = _Listener(websocket)
    house.guests.add(listener)
    try:
        if await speak(backend, house.limits, _said(backend, wanted), settings, send, listener.gone()):
            await say_and_close(websocket, json.dumps({"done": True}), NORMAL_CLOSURE)
        elif listener.is_sent_away:
            raise GoingAway("the server is shutting down; connect again")
    finally:
        house.guests.discard(listener)


class _Listener:
    """Who hears one text. Implements house.Guest."""

    is_busy = True

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._sent_away = asyncio.Event()

    @property
    def is_sent_away(self) -> bool:
        return self._sent_away.is_set()

    def go_away(self) -> None:
        self._sent_away.set()

    async def gone(self) -> None:
        """Returns when it has left, or is to leave."""
        ends = [asyncio.create_task(until_left(self._websocket)), asyncio.create_task(self._sent_away.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()


def _said(backend: Backend, wanted: TtsRequest) -> Wanted:
    return Wanted(wanted.text, wanted.voice, _options(backend, wanted))


def _options(backend: Backend, wanted: TtsRequest) -> dict[str, Any]:
    """The original always sends `cfg_scale`, also to engines that have none."""
    if wanted.cfg_scale is not None and "cfg_scale" in backend.config.opts:
        return {"cfg_scale": wanted.cfg_scale, **wanted.opts}
    return wanted.opts


def _problem(error: VoiceError) -> str:
    return json.dumps({"error": error.message, "code": error.code})
