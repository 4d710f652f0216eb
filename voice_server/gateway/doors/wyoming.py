"""Wyoming over TCP: Home Assistant's text to speech, streaming in both directions.

The protocol has no keys: whoever reaches the port may speak. Connections are counted like all others. An error closes
its connection, as in the servers that its clients know: they would wait for audio for ever.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial

from voice_server.core.doors import wyoming_protocol as protocol
from voice_server.core.doors.wyoming_protocol import (
    Describe,
    Ping,
    Replies,
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    Voice,
)
from voice_server.core.errors import BadMessage, EmptyText, GoingAway, SlowClient, TextTooLong, VoiceError
from voice_server.core.events import AnswerDone, Event
from voice_server.gateway.house import House
from voice_server.gateway.requests import answering, new_id
from voice_server.gateway.server import bind
from voice_server.gateway.visits import until_ready
from voice_server.logs import Request, note
from voice_server.stream.stream import StreamSettings
from voice_server.stream.talk import Talk


async def serve_wyoming(house: House, host: str, port: int) -> asyncio.Server:
    """Listens until the server is closed. Raises OSError."""
    return await serve_wyoming_on(house, bind(host, port, house.limits))


async def serve_wyoming_on(house: House, listener: socket.socket) -> asyncio.Server:
    """The same on a socket that was bound before anything else was started."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _meet(house, reader, writer)

    return await asyncio.start_server(meet, sock=listener, limit=house.limits.text.message_bytes)


async def _meet(house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with answering(Request(new_id(), door=lambda: "TCP wyoming"), "tcp", house.metrics.traffic):
        await _let_in(house, reader, writer)


async def _let_in(house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    address = str((writer.get_extra_info("peername") or ("",))[0])
    try:
        house.gate.enter(address)
    except VoiceError as error:
        note(error)
        writer.write(protocol.error(error))
        writer.close()
        return
    try:
        await _Client(house, address, reader, writer).run()
    finally:
        house.gate.leave(address)
        writer.close()


class _Client:
    """A connected client. One task reads; each answer has a writer of its own, and they follow one another."""

    def __init__(self, house: House, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._house = house
        self._address = address
        self._reader = reader
        self._writer = writer
        self._talk: Talk | None = None  # the last answer
        self._answer: asyncio.Task[None] | None = None  # its end
        self._gets_chunks = False  # it is not known in whole yet
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._idle_timer = self._loop.call_later(house.limits.stream.idle_s, self._watch_idle)
        self._reading = asyncio.create_task(self._read())

    async def run(self) -> None:
        self._house.guests.add(self)
        try:
            await asyncio.wait([self._reading])
        finally:
            self._house.guests.discard(self)
            self._idle_timer.cancel()
            self._reading.cancel()
            await self._leave()

    async def _leave(self) -> None:
        if self._talk and self._answer:
            self._talk.leave()
            await asyncio.wait([self._answer])

    # Guest

    @property
    def is_busy(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def go_away(self) -> None:
        self._writer.write(protocol.error(GoingAway("the server is shutting down; connect again")))
        self._reading.cancel()

    # Reading

    async def _read(self) -> None:
        try:
            while told := await self._next_header():
                data = await self._reader.readexactly(told.data_length or 0)
                await self._reader.readexactly(told.payload_length or 0)
                self._heard_at = self._loop.time()
                await self._do(protocol.said(told, data))
        except VoiceError as error:
            self._writer.write(protocol.error(error))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass

    async def _next_header(self) -> protocol.Header | None:
        """None at the end."""
        try:
            line = await self._reader.readline()
        except ValueError:
            raise TextTooLong(f"a line has at most {self._house.limits.text.message_bytes} bytes") from None
        return protocol.header(line, self._house.limits) if line else None

    def _watch_idle(self) -> None:
        """Who has been silent for long connects again for its next sentence."""
        left_s = self._heard_at + self._house.limits.stream.idle_s - self._loop.time()
        if left_s <= 0 and (self._gets_chunks or not self.is_busy):
            self._reading.cancel()
        else:
            again_s = left_s if left_s > 0 else self._house.limits.stream.idle_s
            self._idle_timer = self._loop.call_later(again_s, self._watch_idle)

    async def _do(self, said: protocol.Said | None) -> None:
        match said:
            case Describe():
                await self._send(await self._info())
            case Ping(text):
                await self._send(protocol.pong(text))
            case Synthesize(text, voice) if not self._gets_chunks:  # else it repeats the chunks, for older servers
                await self._synthesize(text, voice)
            case SynthesizeStart(voice):
                await self._open(voice, streamed=True)
            case SynthesizeChunk(text) if self._talk and self._gets_chunks:
                self._talk.stream.push(text)
            case SynthesizeStop() if self._talk and self._gets_chunks:
                self._gets_chunks = False
                self._talk.stream.finish()

    async def _info(self) -> bytes:
        backend = self._house.default
        await until_ready(backend, self._house.limits)
        return protocol.info(backend.name, backend.voices, backend.config.languages)

    # Speaking

    async def _synthesize(self, text: str, voice: Voice | None) -> None:
        if not text.strip():
            raise EmptyText("there is no text to speak", field="text")
        talk = await self._open(voice, streamed=False)
        talk.stream.push(text)
        talk.stream.finish()

    async def _open(self, voice: Voice | None, *, streamed: bool) -> Talk:
        """After the answer before it, at the engine's own rate: clients take any. Raises what is wrong with `voice`."""
        if self._gets_chunks:
            raise BadMessage("a stream of chunks is open: end it with synthesize-stop")
        if self._answer:
            await asyncio.wait([self._answer])
        backend = self._house.default
        rate = (await until_ready(backend, self._house.limits)).sample_rate
        name = (voice.name if voice else None) or ""
        backend.resolve_voice(name)
        settings, replies = StreamSettings(sample_rate=rate, client=self._address), Replies(rate, streamed=streamed)
        self._talk = talk = Talk(backend, self._house.limits, settings, partial(self._say, replies))
        self._answer = asyncio.create_task(self._until_over(talk, replies))
        self._gets_chunks = streamed
        talk.stream.set_voice(name)
        return talk

    async def _until_over(self, talk: Talk, replies: Replies) -> None:
        """A connection on which an answer failed ends with it."""
        try:
            last = await talk.over()
            if not isinstance(last, AnswerDone) or replies.is_silent:
                self._reading.cancel()
        except SlowClient:
            self._writer.transport.abort()
        except ConnectionError:
            self._reading.cancel()

    async def _say(self, replies: Replies, event: Event) -> None:
        if message := replies.to(event):
            await self._send(message)

    async def _send(self, message: bytes) -> None:
        self._writer.write(message)
        await self._writer.drain()  # the kernel ends the wait for a client that does not read
