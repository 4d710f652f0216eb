"""WS `/stream-tokens`: LLM tokens in, ordered speech out. The messages are in core/stream_tokens_protocol."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core import stream_tokens_protocol as protocol
from voice_server.core.errors import GoingAway, IdleTimeout, SlowClient, VoiceError
from voice_server.core.events import AnswerDone, Event, Problem
from voice_server.gateway.house import House
from voice_server.gateway.security import address_of
from voice_server.gateway.sockets import NORMAL_CLOSURE, POLICY_VIOLATION, abort, say_and_close, send_at_once
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
    stream = Stream(backend, outbox, house.limits, StreamSettings(sample_rate=rate, client=address_of(websocket)))
    try:
        stream.set_voice(query.voice or "")
        stream.greet()
        dialogue = Dialogue(stream, outbox, house.limits, keep_open=bool(query.keep_open), words=bool(query.words))
        await _Client(websocket, house, stream, outbox, dialogue).run()
    finally:
        stream.close()


class _Client:
    """A connected socket. A task of its own reads it all the time; the caller's task writes."""

    def __init__(self, websocket: WebSocket, house: House, stream: Stream, outbox: Outbox, dialogue: Dialogue) -> None:
        self._websocket = websocket
        self._house = house
        self._stream = stream
        self._outbox = outbox
        self._outbox.send_at_once = partial(send_at_once, websocket)
        self._dialogue = dialogue
        self._teller = protocol.Teller()
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._idle_timer = self._loop.call_later(house.limits.stream.idle_s, self._watch_idle)

    async def run(self) -> None:
        self._house.guests.add(self)
        reader = asyncio.create_task(self._read())
        try:
            last = await self._outbox.run(self._send, self._is_last)
            if last:
                await self._websocket.close(_close_code(last))
        except SlowClient:
            abort(self._websocket)
        finally:
            self._house.guests.discard(self)
            self._idle_timer.cancel()
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    # Guest

    @property
    def is_busy(self) -> bool:
        return self._stream.is_busy

    def go_away(self) -> None:
        self._outbox.put(Problem(GoingAway("the server is shutting down; connect again")))

    # Reading

    async def _read(self) -> None:
        try:
            while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
                self._heard_at = self._loop.time()
                self._dialogue.take(message.get("text"))
        finally:  # also after a mistake of ours: nobody may wait for ever on a socket that is not read
            self._outbox.close()

    def _watch_idle(self) -> None:
        idle_s = self._house.limits.stream.idle_s
        quiet_s = self._loop.time() - self._heard_at
        if quiet_s >= idle_s and not self._stream.is_speaking:
            self._outbox.put(Problem(IdleTimeout(f"nothing was said for {idle_s:g} s")))
        else:
            again_s = idle_s - quiet_s if quiet_s < idle_s else idle_s
            self._idle_timer = self._loop.call_later(again_s, self._watch_idle)

    # Writing

    async def _send(self, event: Event) -> None:
        message = self._teller.tell(event, words=self._dialogue.words)
        if isinstance(message, bytes):
            await self._websocket.send_bytes(message)
        else:
            await self._websocket.send_text(message)

    def _is_last(self, event: Event) -> bool:
        return self._dialogue.is_last(event) or (isinstance(event, AnswerDone) and self._house.is_draining)


def _close_code(last: Event) -> int:
    code = last.error.close_code if isinstance(last, Problem) else None
    return code or NORMAL_CLOSURE
