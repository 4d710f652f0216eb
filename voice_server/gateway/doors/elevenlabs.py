"""ElevenLabs' WebSockets: `stream-input` speaks one text, `multi-stream-input` any number of contexts side by side.

A context is a talk of its own: what goes wrong in one is told to its client with its name, and the others go on. After
the last message of a context, its `isFinal` or its error, nothing of it is sent. core/doors/elevenlabs_protocol has the
messages.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.doors import elevenlabs_protocol as protocol
from voice_server.core.doors.elevenlabs_protocol import ClientMessage, OutputFormat, Query
from voice_server.core.doors.limits import ElevenLabsLimits
from voice_server.core.errors import BadMessage, EmptyText, GoingAway, IdleTimeout, SlowClient, VoiceError
from voice_server.core.events import AnswerDone, Event, Problem
from voice_server.gateway.access.keys import keys_of
from voice_server.gateway.access.strangers import Stranger
from voice_server.gateway.doors.elevenlabs_audio import Output
from voice_server.gateway.doors.elevenlabs_http import backend_of, refuse
from voice_server.gateway.house import House
from voice_server.gateway.security import client_of
from voice_server.gateway.sockets import NORMAL_CLOSURE, abort, close, refuse_and_close, send
from voice_server.stream.backend import Backend
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Talk

_LIMITS = ElevenLabsLimits()


@dataclass(frozen=True, slots=True)
class _Manner:
    """How this client is spoken to, by its URL."""

    backend: Backend
    voice: str
    format: OutputFormat
    query: Query
    is_multi: bool


async def stream_input(websocket: WebSocket) -> None:
    """One answer, for ElevenLabs' clients."""
    await _serve(websocket, is_multi=False)


async def multi_stream_input(websocket: WebSocket) -> None:
    """Answers side by side, each in a context, for ElevenLabs' clients."""
    await _serve(websocket, is_multi=True)


async def _serve(websocket: WebSocket, *, is_multi: bool) -> None:
    house: House = websocket.app.state.house
    if house.gate.is_guarded and not any(keys_of(websocket)):
        await _meet(websocket, house, is_multi=is_multi)
        return
    try:
        manner = _manner(websocket, house, is_multi=is_multi)
    except VoiceError as error:  # as an HTTP status: some clients read no message before they have spoken
        await websocket.send_denial_response(refuse(error))
        return
    await websocket.accept()
    await _Client(websocket, house, manner).run()


async def _meet(websocket: WebSocket, house: House, *, is_multi: bool) -> None:
    """Browsers cannot set headers: their key is in the first message. What the address asks for is judged after it."""
    await websocket.accept()
    try:
        first = await Stranger(websocket, house).introduction(protocol.key_of)
        client = _Client(websocket, house, _manner(websocket, house, is_multi=is_multi))
    except VoiceError as error:
        await refuse_and_close(websocket, error, protocol.error_message(error, None))
    except WebSocketDisconnect:
        pass
    else:
        await client.run(first)


def _manner(websocket: WebSocket, house: House, *, is_multi: bool) -> _Manner:
    """Raises BadMessage, UnknownFormat, UnknownVoice."""
    query = protocol.from_query(websocket.query_params, house.limits)
    wanted = protocol.output_format(query.output_format, house.limits)
    Output(wanted)  # whether it can be made here
    backend, voice = backend_of(house, query.model_id), websocket.path_params["voice"]
    backend.resolve_voice(voice)
    return _Manner(backend, voice, wanted, query, is_multi)


class _Context:
    """One text and its speech."""

    def __init__(self, name: str | None, websocket: WebSocket, house: House, manner: _Manner) -> None:
        self.name = name
        self.is_closed = False  # the text is complete
        self._websocket = websocket
        self._manner = manner
        self._output = Output(manner.format)
        self._has_words = False
        self._is_heard = False
        self._has_failed = False
        settings = StreamSettings(sample_rate=manner.format.sample_rate, client=client_of(websocket))
        self.talk = Talk(manner.backend, house.limits, settings, self._send)
        self.talk.stream.set_voice(manner.voice)

    @property
    def is_speaking(self) -> bool:
        return self.talk.stream.is_speaking

    def say(self, message: ClientMessage) -> None:
        """Raises what is wrong with the message."""
        if self.is_closed:
            raise BadMessage("this context is closed", field="context_id")
        stream, specs = self.talk.stream, self._manner.backend.config.opts
        if options := protocol.options_of(message.voice_settings, None, specs):
            stream.set_options(options)
        if message.text:
            stream.push(message.text)
            self._has_words = self._has_words or not message.text.isspace()
        if message.flush or (message.text and self._manner.query.auto_mode):
            stream.flush()

    def close(self) -> None:
        """The first time the rest is spoken; who closes once more does not want to hear it."""
        if self.is_closed:
            self.talk.leave()
        else:
            self.is_closed = True
            self.talk.stream.finish()

    async def tell(self, error: VoiceError) -> None:
        self._has_failed = True
        await send(self._websocket, protocol.error_message(error, self.name))

    async def say_final(self) -> None:
        await send(self._websocket, protocol.final_message(self.name))

    async def _send(self, event: Event) -> None:
        for part in await self._output.parts(event):
            await send(self._websocket, self._message(part))
        if isinstance(event, Problem):
            await self.tell(event.error)
        elif isinstance(event, AnswerDone):
            await self._send_end()

    def _message(self, part: bytes | protocol.Alignment) -> str:
        if isinstance(part, bytes):
            self._is_heard = True
            return protocol.audio_message(part, self.name)
        return protocol.alignment_message(part, self.name, from_answer=self._manner.query.sync_alignment)

    async def _send_end(self) -> None:
        """Words without audio end with an error and never with an empty final: clients would wait for the audio."""
        if self._is_heard or not self._has_words:
            await self.say_final()
        elif not self._has_failed:
            await self.tell(EmptyText("there was nothing to speak in this text"))


class _Client:
    """A connected socket. It is read all the time; each context has a task that writes."""

    def __init__(self, websocket: WebSocket, house: House, manner: _Manner) -> None:
        self._websocket = websocket
        self._house = house
        self._manner = manner
        self._contexts: dict[str | None, _Context] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[VoiceError | None] = self._loop.create_future()
        self._is_leaving = not manner.is_multi  # the socket is closed as soon as no context is left
        self._heard_at = self._loop.time()
        self._idle_s = min(manner.query.inactivity_timeout, _LIMITS.idle_max_s)
        self._idle_timer = self._loop.call_later(self._idle_s, self._watch_idle)

    async def run(self, first: str = "") -> None:
        """`first`: a message that was read already."""
        self._house.guests.add(self)
        reader = self._loop.create_task(self._read(first))
        try:
            await self._say_goodbye(await self._end)
        finally:
            self._house.guests.discard(self)
            self._idle_timer.cancel()
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _say_goodbye(self, error: VoiceError | None) -> None:
        for context in self._contexts.values():
            context.talk.leave()
        await asyncio.gather(*self._tasks)  # nothing may be sent behind the close
        if error:
            await refuse_and_close(self._websocket, error, protocol.error_message(error, None))
        else:
            await close(self._websocket, NORMAL_CLOSURE)

    def _finish(self, error: VoiceError | None = None) -> None:
        if not self._end.done():
            self._end.set_result(error)

    # Guest

    @property
    def is_busy(self) -> bool:
        return bool(self._contexts)

    def go_away(self) -> None:
        self._finish(GoingAway("the server is shutting down; connect again"))

    # Reading

    async def _read(self, first: str) -> None:
        try:
            with contextlib.suppress(WebSocketDisconnect):
                if first:
                    await self._hear(first)
                await self._listen()
        finally:  # also after a mistake of ours: nobody may wait for ever on a socket that is not read
            self._finish()

    async def _listen(self) -> None:
        while (received := await self._websocket.receive())["type"] != "websocket.disconnect":
            self._heard_at = self._loop.time()
            await self._hear(received.get("text") or "")

    async def _hear(self, text: str) -> None:
        context = protocol.context_of(text)
        try:
            self._take(protocol.decode(text, self._house.limits))
        except VoiceError as error:
            known = self._contexts.get(context if self._manner.is_multi else None)
            await (known.tell(error) if known else self._tell(error, context))

    async def _tell(self, error: VoiceError, context: str | None) -> None:
        await send(self._websocket, protocol.error_message(error, context if self._manner.is_multi else None))

    def _take(self, message: ClientMessage) -> None:
        if self._manner.is_multi:
            self._take_of_many(message)
        else:
            self._take_of_one(message)

    def _take_of_one(self, message: ClientMessage) -> None:
        context = self._contexts.get(None) or self._open(None)
        if context.is_closed:
            return
        if message.text == "":  # also where it says `flush`
            context.close()
        else:
            context.say(message)

    def _take_of_many(self, message: ClientMessage) -> None:
        name = message.context_id or protocol.DEFAULT_CONTEXT
        context = self._contexts.get(name)
        if message.close_socket:
            self._leave()
        elif message.close_context:
            if context:
                context.close()
        elif context is None and message.text:
            self._open(name).say(message)
        elif context and (message.text or not context.is_closed):  # else it is a sign of life
            context.say(message)

    def _leave(self) -> None:
        self._is_leaving = True
        for context in self._contexts.values():
            if not context.is_closed:
                context.close()
        self._close_if_empty()

    # Contexts

    def _open(self, name: str | None) -> _Context:
        self._make_room()
        self._manner.backend.resolve_voice(self._manner.voice)  # a sample may have been taken away
        context = self._contexts[name] = _Context(name, self._websocket, self._house, self._manner)
        task = self._loop.create_task(self._accompany(context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return context

    def _make_room(self) -> None:
        """Clients forget contexts that had an error: the oldest one that is silent goes."""
        if len(self._contexts) < _LIMITS.contexts:
            return
        silent = [context for context in self._contexts.values() if not context.is_speaking]
        if not silent:
            raise BadMessage(f"a socket has at most {_LIMITS.contexts} contexts that speak", field="context_id")
        silent[0].talk.leave()

    async def _accompany(self, context: _Context) -> None:
        try:
            last = await context.talk.over()
            if last is None and not self._end.done():  # dropped by its client, which waits for the end
                await context.say_final()
        except SlowClient:
            abort(self._websocket)
            self._finish()
        except WebSocketDisconnect:
            self._finish()
        finally:
            del self._contexts[context.name]
            self._close_if_empty()

    def _close_if_empty(self) -> None:
        if not self._contexts and (self._is_leaving or self._house.is_draining):
            self._finish()

    def _watch_idle(self) -> None:
        left_s = self._heard_at + self._idle_s - self._loop.time()
        if left_s <= 0 and not self._is_speaking:
            self._finish(IdleTimeout(f"nothing was said for {self._idle_s:g} s"))
        else:
            self._idle_timer = self._loop.call_later(left_s if left_s > 0 else self._idle_s, self._watch_idle)

    @property
    def _is_speaking(self) -> bool:
        return any(context.is_speaking for context in self._contexts.values())
