"""Honest clients of the other doors: a whole text in, its sound out, each byte checked."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets

from bench.clients import Cartesia, Deepgram, ElevenLabs, ElevenLabsMany, Socket, VoxcpmTts
from bench.soak.answers import Answer, judge_sound
from bench.soak.talkers import PATIENCE_S
from bench.soak.texts import NATIVE, Manner, sentences
from bench.sounds import WAV_HEADER

_SOCKETS: tuple[Socket, ...] = (Cartesia(), Deepgram(), ElevenLabs(), ElevenLabsMany(), VoxcpmTts())


@dataclass(frozen=True, slots=True)
class Post:
    """An HTTP door whose answer is PCM, or a WAV file of it."""

    name: str
    path: str
    text_field: str
    body: dict[str, Any]
    header_bytes: int = 0


_SPEECH, _OPENAI = "/v1/audio/speech", {"model": "tts-1", "voice": "alloy"}
_POSTS = (
    Post("POST /tts", "/tts", "text", {"voice": "tone"}, WAV_HEADER),
    Post("POST /v1/audio/speech, pcm", _SPEECH, "input", {**_OPENAI, "response_format": "pcm"}),
    Post("POST /v1/audio/speech, wav", _SPEECH, "input", {**_OPENAI, "response_format": "wav"}, WAV_HEADER),
    Post("POST …/stream, pcm_24000", "/v1/text-to-speech/tone/stream?output_format=pcm_24000", "text", {}),
)
_DOORS: tuple[Socket | Post, ...] = (*_SOCKETS, *_POSTS)


@dataclass(slots=True)
class Sound:
    audio: bytearray = field(default_factory=bytearray)
    errors: list[str] = field(default_factory=list)
    was_cut: bool = False


async def visit(port: int, address: str, dice: random.Random) -> Answer:
    """One answer at one of the doors."""
    door: Socket | Post = dice.choice(_DOORS)
    said, sound = sentences(dice), Sound()
    text = " ".join(said)
    asking = (
        _ask(door, port, address, text, sound) if isinstance(door, Socket) else _post(door, port, address, text, sound)
    )
    try:
        await asyncio.wait_for(asking, PATIENCE_S)
    except asyncio.TimeoutError:
        return Answer(door.name, "", f"did not end within {PATIENCE_S:g} s")
    if isinstance(door, Socket) and sound.was_cut and not sound.errors:
        return Answer(door.name, "", "closed without a word")  # HTTP has no other way to say so in the middle of a file
    manner = Manner(rate=NATIVE)
    owed = [manner.owed(sentence) for sentence in said]
    return Answer(door.name, *judge_sound(bytes(sound.audio), owed, sound.errors, was_cut=sound.was_cut))


async def _ask(door: Socket, port: int, address: str, text: str, sound: Sound) -> None:
    url = f"ws://127.0.0.1:{port}{door.path}"
    try:
        async with websockets.connect(url, local_addr=(address, 0), compression=None, max_size=None) as ws:
            for message in door.says(text):
                await ws.send(message)
            await _listen(door, ws, sound)
    except websockets.InvalidStatus as refused:
        sound.errors.append(code_of(json.loads(refused.response.body or b"{}")) or str(refused))


async def _listen(door: Socket, ws: websockets.ClientConnection, sound: Sound) -> None:
    try:
        async for message in ws:
            if isinstance(message, str) and (code := code_of(json.loads(message))):
                sound.errors.append(code)
            else:
                sound.audio += door.audio(message)
            if door.is_last(message):
                return
    except websockets.ConnectionClosed:
        pass
    sound.was_cut = True


async def _post(door: Post, port: int, address: str, text: str, sound: Sound) -> None:
    body = {**door.body, door.text_field: text}
    transport = httpx.AsyncHTTPTransport(local_address=address)
    url = f"http://127.0.0.1:{port}{door.path}"
    async with (
        httpx.AsyncClient(transport=transport, timeout=PATIENCE_S) as http,
        http.stream("POST", url, json=body) as response,
    ):
        if response.status_code != 200:
            sound.errors.append(code_of(json.loads(await response.aread())) or str(response.status_code))
            return
        try:
            async for piece in response.aiter_raw():
                sound.audio += piece
        except httpx.TransportError:
            sound.was_cut = True
        del sound.audio[: door.header_bytes]


def code_of(told: Any) -> str:
    """The code of an error, in the words of any door; "" where this is none."""
    if not isinstance(told, dict):
        return ""
    for key in ("code", "error_code", "err_code", "error", "detail"):
        value = told.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict):
            return code_of(value)
    return ""
