"""WS `/stream-tokens`: LLM tokens in, ordered speech out. The messages are in core/doors/stream_tokens_protocol."""

from __future__ import annotations

from functools import partial

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.audio.tape import Tape
from voice_server.core.doors import stream_tokens_protocol as protocol
from voice_server.core.doors.stream_tokens_protocol import Claim
from voice_server.core.errors import VoiceError
from voice_server.core.events import AnswerDone, AudioChunk, Event, Problem, StreamReady, Told
from voice_server.gateway.house import House
from voice_server.gateway.security import client_of, key_name_of
from voice_server.gateway.sockets import POLICY_VIOLATION, refuse_and_close, send_at_once, tethered, until_left
from voice_server.gateway.speech import unless
from voice_server.gateway.tethers import Tether, elsewhere
from voice_server.gateway.visits import Speaking, Visit, until_ready
from voice_server.stream.dialogue import Dialogue
from voice_server.stream.outbox import Outbox
from voice_server.stream.stream import Stream, StreamSettings


class _Claimed(Exception):
    """The client belongs to a stream that it lost, and says so in its first message."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim


async def stream_tokens(websocket: WebSocket) -> None:
    """LLM tokens in, ordered speech out."""
    house: House = websocket.app.state.house
    try:
        await _enter(websocket, house)
        await _converse(websocket, house)
    except VoiceError as error:  # there is no dialogue
        await refuse_and_close(websocket, error, _text_of(error))
    except (ClientDisconnect, WebSocketDisconnect):
        pass


async def _enter(websocket: WebSocket, house: House) -> None:
    """Who wants the engine's rate is not accepted before that is known: it would be pinged, and its pong not read."""
    try:
        if websocket.query_params.get("sample_rate") == protocol.NATIVE:
            backend = house.backend(websocket.query_params.get("backend", ""))
            await unless(until_left(websocket), until_ready(backend, house.limits))
    except VoiceError:
        await websocket.accept()  # to be told
        raise
    await websocket.accept()


async def _converse(websocket: WebSocket, house: House) -> None:
    wish = protocol.resume_from_query(dict(websocket.query_params), house.limits)
    claim = wish if isinstance(wish, Claim) else await _begin(websocket, house, can_resume=wish)
    if claim:
        await _hold(websocket, house, house.tethers.find(claim.token, key_name_of(websocket)), claim)


async def _begin(websocket: WebSocket, house: House, *, can_resume: bool) -> Claim | None:
    """A new stream, until it is over or its client says that it belongs to another one."""
    query = protocol.from_query(dict(websocket.query_params), house.limits)
    backend = house.backend(websocket.query_params.get("backend", ""))
    rate = backend.sample_rate if isinstance(query.sample_rate, str) else query.sample_rate
    outbox, client = Outbox(house.limits.stream), client_of(websocket)
    stream = Stream(backend, outbox, house.limits, StreamSettings(sample_rate=rate or 0, client=client))
    dialogue = Dialogue(stream, outbox, house.limits, keep_open=bool(query.keep_open), words=bool(query.words))
    dialogue.on_claim = _leave_for
    tether = None
    try:
        stream.set_voice(query.voice or "")
        tether = house.tethers.tie(dialogue, client, key_name_of(websocket)) if can_resume else None
        if tether:
            await _hold(websocket, house, tether)
        else:
            stream.greet()
            await _visit(websocket, house, dialogue)
    except _Claimed as claimed:
        return claimed.claim
    finally:
        if tether is None:
            stream.close()
    return None


def _leave_for(claim: Claim) -> None:
    raise _Claimed(claim)


async def _hold(websocket: WebSocket, house: House, tether: Tether, claim: Claim | None = None) -> None:
    """One socket of a stream that outlives it, if it is lost."""
    dialogue, socket, farewell = tether.dialogue, tethered(websocket), elsewhere()
    async with tether.held(partial(socket.expel, _text_of(farewell), farewell.close_code or POLICY_VIOLATION)):
        lacking = tether.tape.rewind(claim.bytes, claim.messages) if claim else []
        ready = dialogue.stream.greeting(tether.offer(claim.bytes if claim else None))
        dialogue.outbox.reopen(ready, *lacking)
        socket.shorten(house.limits.resume.socket_bytes)
        try:
            await _visit(websocket, house, dialogue, tether.tape)
        except _Claimed:
            tether.cut()
            raise
        if await socket.until_parted():
            tether.cut()


async def _visit(websocket: WebSocket, house: House, dialogue: Dialogue, tape: Tape | None = None) -> None:
    host = _Host(websocket, house, dialogue, tape)
    dialogue.outbox.send_at_once = host.say_at_once
    await Visit(websocket, house, Speaking(websocket, dialogue.outbox, host)).run()


def _text_of(error: VoiceError) -> str:
    return str(protocol.encode(Problem(error)))


class _Host:
    """Implements visits.Host. What it says is kept on the `tape`, if there is one."""

    def __init__(self, websocket: WebSocket, house: House, dialogue: Dialogue, tape: Tape | None) -> None:
        self._websocket = websocket
        self._house = house
        self._dialogue = dialogue
        self._tape = tape

    @property
    def is_busy(self) -> bool:
        return self._dialogue.stream.is_busy

    @property
    def is_speaking(self) -> bool:
        return self._dialogue.stream.is_speaking

    def hear(self, text: str) -> None:
        self._dialogue.take(text)

    async def say(self, event: Event) -> None:
        message = self._dialogue.tell(event)
        if self._tape and not isinstance(event, StreamReady):
            self._tape.append(Told(event.event if isinstance(event, Told) else event, message))
        if isinstance(message, bytes):
            await self._websocket.send_bytes(message)
        else:
            await self._websocket.send_text(message)

    def say_at_once(self, chunk: AudioChunk) -> bool:
        is_said = send_at_once(self._websocket, chunk.pcm)
        if is_said and self._tape:
            self._tape.append(Told(chunk, chunk.pcm))
        return is_said

    def is_last(self, event: Event) -> bool:
        return self._dialogue.is_last(event) or (isinstance(event, AnswerDone) and self._house.is_draining)
