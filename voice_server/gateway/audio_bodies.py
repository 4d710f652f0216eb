"""Bodies of HTTP answers that stream a file of audio: bare samples, WAV, and what an encoder makes."""

from __future__ import annotations

from dataclasses import dataclass

from voice_server.core.audio.raw_formats import RawFormat, raw_wav_header, to_raw
from voice_server.core.errors import VoiceError
from voice_server.gateway.encoders import Encoder, encoder, is_costly

_TYPES: dict[RawFormat, str] = {
    "pcm_s16le": "audio/pcm",
    "pcm_f32le": "audio/pcm",
    "mulaw": "audio/mulaw",
    "alaw": "audio/alaw",
}


class Bare:
    """Samples as they are, behind the head of a WAV file if that is wanted."""

    is_costly = False

    def __init__(self, kind: RawFormat, sample_rate: int, *, is_wav: bool) -> None:
        self.content_type = "audio/wav" if is_wav else f"{_TYPES[kind]};rate={sample_rate}"
        self._kind = kind
        self._head = raw_wav_header(sample_rate, kind) if is_wav else b""

    def audio(self, pcm: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + to_raw(pcm, self._kind)

    def end(self) -> bytes:
        return b""

    def failure(self, error: VoiceError) -> bytes:
        return b""


@dataclass(slots=True)
class Compressed:
    encoder: Encoder
    is_costly: bool

    @property
    def content_type(self) -> str:
        return self.encoder.content_type

    def audio(self, pcm: bytes) -> bytes:
        return self.encoder.push(pcm)

    def end(self) -> bytes:
        return self.encoder.flush()

    def failure(self, error: VoiceError) -> bytes:
        return b""


def compressed(name: str, sample_rate: int) -> Compressed:
    """Raises UnknownFormat."""
    return Compressed(encoder(name, sample_rate), is_costly(name))
