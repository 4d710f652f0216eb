"""One small class per door: what a client sends for a text, and where the audio is in what it gets.

They speak the bare wire, without the libraries of the clients, whose own time is not the gateway's.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import websockets

from bench.gateway import Gateway

VOICE = "tone"


class Absent(Exception):
    """This server has no such door."""


class Connection(Protocol):
    """Open; nothing was said yet."""

    def say(self, text: str) -> AsyncIterator[bytes]:
        """The audio, as it comes, until it ends."""
        ...


class Door(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def codec(self) -> str:
        """Of its audio: pcm, wav, or a container that says itself what it is."""
        ...

    @property
    def is_compressed(self) -> bool: ...

    def connect(self, gateway: Gateway) -> Any: ...


@dataclass(frozen=True)
class Http:
    """A POST whose answer is audio."""

    name: str
    path: str
    codec: str
    body: Mapping[str, Any]
    text_field: str = "input"

    @property
    def is_compressed(self) -> bool:
        return self.codec not in ("pcm", "wav")

    @asynccontextmanager
    async def connect(self, gateway: Gateway) -> AsyncIterator[Http.Open]:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        try:
            yield self.Open(self, reader, writer)
        finally:
            writer.close()

    @dataclass(frozen=True)
    class Open:
        door: Http
        reader: asyncio.StreamReader
        writer: asyncio.StreamWriter

        async def say(self, text: str) -> AsyncIterator[bytes]:
            body = json.dumps({**self.door.body, self.door.text_field: text}).encode()
            head = f"POST {self.door.path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
            self.writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            told = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            if not told.startswith("HTTP/1.1 200"):
                raise Absent(f"{told.splitlines()[0]}: {(await self.reader.read(200)).decode(errors='replace')}")
            async for piece in _chunks(self.reader):
                yield piece


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int(await reader.readline(), 16):
        yield (await reader.readexactly(size + 2))[:-2]


@dataclass(frozen=True)
class Sse(Http):
    """Audio in server-sent events; an event may lie across chunks."""

    @dataclass(frozen=True)
    class Open(Http.Open):
        async def say(self, text: str) -> AsyncIterator[bytes]:
            rest = b""
            async for piece in super().say(text):
                *events, rest = (rest + piece).split(b"\n\n")
                for event in (json.loads(event.removeprefix(b"data: ")) for event in events):
                    if event["type"] == "speech.audio.delta":
                        yield base64.b64decode(event["audio"])


class Socket:
    """A WebSocket. Subclasses say what goes in and what comes out."""

    name = ""
    codec = "pcm"
    is_compressed = False
    path = ""
    has_greeting = False

    def says(self, text: str) -> list[str]:
        raise NotImplementedError

    def audio(self, message: str | bytes) -> bytes:
        """Nothing where there is none in it."""
        raise NotImplementedError

    def is_last(self, message: str | bytes) -> bool:
        raise NotImplementedError

    @asynccontextmanager
    async def connect(self, gateway: Gateway) -> AsyncIterator[_OpenSocket]:
        url = f"ws://127.0.0.1:{gateway.port}{self.path}"
        try:
            ws = await websockets.connect(url, compression=None, max_size=None)
        except websockets.InvalidStatus as refused:
            raise Absent(f"HTTP {refused.response.status_code}") from None
        async with ws:
            if self.has_greeting:
                await ws.recv()
            yield _OpenSocket(self, ws)


@dataclass(frozen=True)
class _OpenSocket:
    door: Socket
    ws: websockets.ClientConnection

    async def say(self, text: str) -> AsyncIterator[bytes]:
        for said in self.door.says(text):
            await self.ws.send(said)
        async for message in self.ws:
            if audio := self.door.audio(message):
                yield audio
            if self.door.is_last(message):
                return


class StreamTokens(Socket):
    name = "WS /stream-tokens"
    path = "/stream-tokens"
    has_greeting = True

    def says(self, text: str) -> list[str]:
        return [json.dumps({"token": text, "done": True})]

    def audio(self, message: str | bytes) -> bytes:
        return message if isinstance(message, bytes) else b""

    def is_last(self, message: str | bytes) -> bool:
        return message == '{"type":"done"}'


class VoxcpmTts(Socket):
    """Frames: magic, type, reserved, length of the metadata, the metadata, length of the PCM, the PCM."""

    name = "WS /tts (VoxCPM)"
    path = "/tts"

    def says(self, text: str) -> list[str]:
        request = {"type": "tts_request", "request_id": "bench", "params": {"text": text, "mode": "streaming"}}
        return [json.dumps(request)]

    def audio(self, message: str | bytes) -> bytes:
        if isinstance(message, str):
            return b""
        metadata_bytes = int.from_bytes(message[4:8], "big")
        return message[8 + metadata_bytes + 4 :]

    def is_last(self, message: str | bytes) -> bool:
        return isinstance(message, str) and json.loads(message)["type"] in ("complete", "error")


class ElevenLabs(Socket):
    name = "WS …/stream-input"
    path = f"/v1/text-to-speech/{VOICE}/stream-input?output_format=pcm_24000"

    def says(self, text: str) -> list[str]:
        return [json.dumps({"text": " "}), json.dumps({"text": f"{text} ", "flush": True}), json.dumps({"text": ""})]

    def audio(self, message: str | bytes) -> bytes:
        return base64.b64decode(json.loads(message).get("audio") or "")

    def is_last(self, message: str | bytes) -> bool:
        return bool(json.loads(message).get("isFinal"))


class ElevenLabsMany(ElevenLabs):
    name = "WS …/multi-stream-input"
    path = f"/v1/text-to-speech/{VOICE}/multi-stream-input?output_format=pcm_24000"

    def says(self, text: str) -> list[str]:
        first = {"text": " ", "context_id": "bench"}
        rest = {"text": f"{text} ", "context_id": "bench", "flush": True}
        return [json.dumps(first), json.dumps(rest), json.dumps({"context_id": "bench", "close_context": True})]


class Cartesia(Socket):
    name = "WS /tts/websocket"
    path = "/tts/websocket?cartesia_version=2025-04-16"

    def says(self, text: str) -> list[str]:
        format = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}
        voice = {"mode": "id", "id": VOICE}
        request = {"model_id": "sonic-3", "voice": voice, "output_format": format, "context_id": "bench"}
        return [json.dumps({**request, "language": "en", "transcript": text, "continue": False})]

    def audio(self, message: str | bytes) -> bytes:
        told = json.loads(message)
        return base64.b64decode(told["data"]) if told["type"] == "chunk" else b""

    def is_last(self, message: str | bytes) -> bool:
        return json.loads(message)["type"] in ("done", "error")


class Deepgram(Socket):
    name = "WS /v1/speak"
    path = "/v1/speak?encoding=linear16&sample_rate=24000"

    def says(self, text: str) -> list[str]:
        return [json.dumps({"type": "Speak", "text": text}), json.dumps({"type": "Flush"})]

    def audio(self, message: str | bytes) -> bytes:
        return message if isinstance(message, bytes) else b""

    def is_last(self, message: str | bytes) -> bool:
        return isinstance(message, str) and json.loads(message)["type"] == "Flushed"


class Wyoming:
    """Events over TCP: a line of JSON that says how many bytes of data and of audio come behind it."""

    name = "TCP Wyoming"
    codec = "pcm"
    is_compressed = False

    @asynccontextmanager
    async def connect(self, gateway: Gateway) -> AsyncIterator[_OpenWyoming]:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.wyoming_port)
        try:
            yield _OpenWyoming(reader, writer)
        finally:
            writer.close()


@dataclass(frozen=True)
class _OpenWyoming:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, text: str) -> AsyncIterator[bytes]:
        self.writer.write(json.dumps({"type": "synthesize", "data": {"text": text}}).encode() + b"\n")
        while (event := json.loads(await self.reader.readline()))["type"] != "audio-stop":
            await self.reader.readexactly(event.get("data_length") or 0)
            audio = await self.reader.readexactly(event.get("payload_length") or 0)
            if event["type"] == "audio-chunk":
                yield audio


def _speech(format: str, **more: str) -> dict[str, Any]:
    return {"model": "tts-1", "voice": "alloy", "response_format": format, **more}


_SPEECH = "/v1/audio/speech"
_ELEVEN = f"/v1/text-to-speech/{VOICE}/stream?output_format="
DOORS: list[Door] = [
    StreamTokens(),
    VoxcpmTts(),
    ElevenLabs(),
    ElevenLabsMany(),
    Cartesia(),
    Deepgram(),
    Wyoming(),
    Sse("POST speech, sse, pcm", _SPEECH, "pcm", _speech("pcm", stream_format="sse")),
    *(Http(f"POST speech, {format}", _SPEECH, format, _speech(format)) for format in ("pcm", "wav", "flac")),
    *(Http(f"POST speech, {format}", _SPEECH, format, _speech(format)) for format in ("mp3", "opus", "aac")),
    Http("POST …/stream, pcm_24000", f"{_ELEVEN}pcm_24000", "pcm", {}, "text"),
    Http("POST …/stream, mp3", f"{_ELEVEN}mp3_44100_128", "mp3", {}, "text"),
]
