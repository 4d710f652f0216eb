"""What a stream tells its client, one value object per event. A door's protocol table turns them into messages.

Between `SentenceStarted` and `SentenceEnded` of one index all `AudioChunk`s are of that index; indexes rise. Every
answer ends with exactly one of `AnswerDone` and `AnswerCancelled`; `Problem`s may come before.
"""

from __future__ import annotations

from dataclasses import dataclass

from voice_server.core.errors import VoiceError


@dataclass(frozen=True, slots=True)
class ResumeOffer:
    """What a client needs to come back, and what it learns when it did."""

    token: str
    wait_s: float  # for a client that lost its socket
    resumed_at: int | None = None  # bytes of audio that came before; None: the stream begins
    received: int = 0  # messages of the client, on all its sockets


@dataclass(frozen=True, slots=True)
class StreamReady:
    backend: str
    voice: str
    sample_rate: int  # Hz of the PCM s16le mono this stream will get
    resume: ResumeOffer | None = None


@dataclass(frozen=True, slots=True)
class FormatChanged:
    sample_rate: int


@dataclass(frozen=True, slots=True)
class SentenceAccepted:
    index: int
    text: str  # the client's own words
    dropped_tags: tuple[str, ...] = ()  # of its tags, those that the engine does not understand: nobody hears them
    spoken: bool = True  # False: no word of it is, and no other event will come of it


@dataclass(frozen=True, slots=True)
class SentenceQueued:
    position: int  # in the line of waiting streams, from 1
    reason: str  # "busy" or "loading"
    eta_s: float | None = None  # from now until it is rendered; None: nobody knows


@dataclass(frozen=True, slots=True)
class SentenceRendering:
    index: int
    text: str
    queue_depth: int  # sentences of this stream still waiting for a worker
    worker: str


@dataclass(frozen=True, slots=True)
class SentenceStarted:
    index: int
    text: str  # the client's own words
    at_s: float = 0.0  # how much audio of the answer came before


@dataclass(frozen=True, slots=True)
class AudioChunk:
    index: int
    pcm: bytes  # s16le, whole samples


@dataclass(frozen=True, slots=True)
class SentenceEnded:
    index: int
    duration_s: float
    truncated: bool = False  # the engine hit its length cap
    lead_s: float = 0.0  # of it, the pause before its words


@dataclass(frozen=True, slots=True)
class SentenceResumed:
    index: int
    exact: bool  # the second rendering equals the first bit by bit


@dataclass(frozen=True, slots=True)
class Problem:
    error: VoiceError
    sentence: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerCancelled:
    """What its listener heard of the answer until then: see core/text/transcript."""

    spoken_text: str = ""  # the beginning of the client's own text
    spoken_ms: int = 0  # of audio that was heard
    delivered_ms: int = 0  # of audio that the socket took


@dataclass(frozen=True, slots=True)
class AnswerDone:
    pass


@dataclass(frozen=True, slots=True)
class Told:
    """An event that a socket took before, for a client that may have lost it with that socket: the same message."""

    event: Event
    message: str | bytes


Event = (
    StreamReady
    | FormatChanged
    | SentenceAccepted
    | SentenceQueued
    | SentenceRendering
    | SentenceStarted
    | AudioChunk
    | SentenceEnded
    | SentenceResumed
    | Problem
    | AnswerCancelled
    | AnswerDone
    | Told
)
