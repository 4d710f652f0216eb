"""What ElevenLabs' doors send of an answer: its audio in the format that was asked for, and when its characters are
heard. No HTTP types."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from voice_server.core.audio.raw_formats import RawFormat, to_raw
from voice_server.core.doors.elevenlabs_protocol import Alignment, OutputFormat, Timeline, pieces
from voice_server.core.events import AnswerDone, AudioChunk, Event
from voice_server.gateway.encoders import Encoder, encode_whole, encoder, is_costly

_TELEPHONE: dict[str, RawFormat] = {"ulaw": "mulaw", "alaw": "alaw"}


@dataclass(slots=True)
class _Telephone:
    kind: RawFormat
    content_type: str = "audio/basic"

    def push(self, pcm: bytes) -> bytes:
        return to_raw(pcm, self.kind)

    def flush(self) -> bytes:
        return b""


def encoder_of(wanted: OutputFormat) -> Encoder:
    """Raises UnknownFormat."""
    if kind := _TELEPHONE.get(wanted.codec):
        return _Telephone(kind)
    return encoder(wanted.codec, wanted.sample_rate)


def is_slow(wanted: OutputFormat) -> bool:
    """Whether encoding belongs into a thread."""
    return wanted.codec not in _TELEPHONE and is_costly(wanted.codec)


def whole_file(wanted: OutputFormat, pcm: bytes) -> bytes:
    if kind := _TELEPHONE.get(wanted.codec):
        return to_raw(pcm, kind)
    return encode_whole(wanted.codec, wanted.sample_rate, pcm)


class Output:
    """Of one answer. Raises UnknownFormat."""

    def __init__(self, wanted: OutputFormat) -> None:
        self._encoder = encoder_of(wanted)
        self._is_slow = is_slow(wanted)
        self._timeline = Timeline()

    async def parts(self, event: Event) -> list[bytes | Alignment]:
        if isinstance(event, AudioChunk):
            return [*pieces(await self._made(self._encoder.push, event.pcm))]
        if isinstance(event, AnswerDone):
            return [*pieces(await self._made(self._encoder.flush))]
        alignment = self._timeline.take(event)
        return [alignment] if alignment else []

    async def _made(self, make: Callable[..., bytes], *arguments: bytes) -> bytes:
        return await asyncio.to_thread(make, *arguments) if self._is_slow else make(*arguments)
