"""WS `/stream-tokens`: LLM tokens in, ordered speech out. The messages are in core/doors/stream_tokens_protocol."""

from __future__ import annotations

from functools import partial

from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.doors import stream_tokens_protocol as protocol
from voice_server.core.errors import VoiceError
from voice_server.core.events import AnswerDone, Event, Problem
from voice_server.gateway.house import House
from voice_server.gateway.security import client_of
from voice_server.gateway.sockets import POLICY_VIOLATION, say_and_close, send_at_once
from voice_server.gateway.visits import Visit
from voice_server.stream.dialogue import Dialogue
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings


async def stream_tokens(websocket: WebSocket) -> None:
    """LLM tokens in, ordered speech out."""
    house: House = websocket.app.state.house
    await websocket.accept()
    try:
        await _converse(websocket, house)
    except VoiceError as error:  # before there was a dialogue
        text = str(protocol.encode(Problem(error)))
        await say_and_close(websocket, text, error.close_code or POLICY_VIOLATION)
    except WebSocketDisconnect:
        pass


async def _converse(websocket: WebSocket, house: House) -> None:
    query = protocol.from_query(dict(websocket.query_params), house.limits)
    backend = house.backend(websocket.query_params.get("backend", ""))
    rate = query.sample_rate or 0
    if isinstance(rate, str):
        rate = (await backend.pool.until_ready()).sample_rate
    outbox = Outbox(house.limits.stream)
    stream = Stream(backend, outbox, house.limits, StreamSettings(sample_rate=rate, client=client_of(websocket)))
    try:
        stream.set_voice(query.voice or "")
        stream.greet()
        dialogue = Dialogue(stream, outbox, house.limits, keep_open=bool(query.keep_open), words=bool(query.words))
        outbox.send_at_once = partial(send_at_once, websocket)
        await Visit(websocket, house, outbox, _Host(websocket, house, stream, dialogue)).run()
    finally:
        stream.close()


class _Host:
    """Implements visits.Host."""

    def __init__(self, websocket: WebSocket, house: House, stream: Stream, dialogue: Dialogue) -> None:
        self._websocket = websocket
        self._house = house
        self._stream = stream
        self._dialogue = dialogue
        self._teller = protocol.Teller()

    @property
    def is_busy(self) -> bool:
        return self._stream.is_busy

    @property
    def is_speaking(self) -> bool:
        return self._stream.is_speaking

    def hear(self, text: str) -> None:
        self._dialogue.take(text)

    async def say(self, event: Event) -> None:
        message = self._teller.tell(event, words=self._dialogue.words)
        if isinstance(message, bytes):
            await self._websocket.send_bytes(message)
        else:
            await self._websocket.send_text(message)

    def is_last(self, event: Event) -> bool:
        return self._dialogue.is_last(event) or (isinstance(event, AnswerDone) and self._house.is_draining)
