"""What became of one answer, or of one hearing: figures for a log line, for metrics and for traces.

Holds no text of a client, only how much there was. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, Protocol

AnswerState = Literal["done", "cancelled", "failed", "left"]
Value = str | int | float


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked, and by which way."""

    backend: str
    stream: int = 0  # 0: a hearing, which is no stream
    door: str = ""  # "WS /stream-tokens"; "" for a program that speaks without a socket
    client: str = ""
    voice: str = ""  # only if the backend has it: else it is a client's own words
    live: bool = True  # somebody listens; False: a whole file
    request_id: str = ""
    trace: str = ""  # the header `traceparent` of the client's request


@dataclass(slots=True)
class SentenceReport:
    chars: int
    accepted_at: float
    renders: list[tuple[float, str]] = field(default_factory=list)  # when each attempt began, and at which worker
    first_audio_at: float | None = None  # the socket took some
    ended_at: float | None = None  # nothing more is rendered of it
    code: str = ""  # of the error that ended it


@dataclass(slots=True)
class AnswerReport:
    state: AnswerState = "left"
    code: str = ""  # of the latest error in it
    began_at: float = 0.0
    ended_at: float = 0.0
    sentences: int = 0
    failures: Counter[str] = field(default_factory=Counter)  # of them, by code
    chars: int = 0
    retries: int = 0
    queue_wait_s: float | None = None
    first_audio_s: float | None = None
    onset_s: float | None = None
    audio_s: float = 0.0  # that the socket took
    gaps: int = 0
    gap_s: float = 0.0  # all of them together
    details: dict[int, SentenceReport] = field(default_factory=dict)  # of the first sentences, by index

    @property
    def figures(self) -> dict[str, Value]:
        """What stands in its log line; what was not measured is left out."""
        known = {
            "state": self.state,
            "sentences": self.sentences,
            "failed": self.failures.total() or None,
            "chars": self.chars,
            "audio_s": round(self.audio_s, 3),
            "duration_s": round(self.ended_at - self.began_at, 3),
            "queue_wait_ms": _ms(self.queue_wait_s),
            "first_audio_ms": _ms(self.first_audio_s),
            "onset_ms": _ms(self.onset_s),
            "gaps": self.gaps,
            "gap_s": round(self.gap_s, 3),
            "retries": self.retries,
            "code": self.code or None,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass(slots=True)
class HearingReport:
    state: AnswerState = "left"
    code: str = ""
    audio_s: float = 0.0  # that a worker heard
    dropped_s: float = 0.0
    chars: int = 0  # of the text
    retries: int = 0
    queue_wait_s: float | None = None
    final_s: float | None = None  # from the end of the audio to the last text

    @property
    def figures(self) -> dict[str, Value]:
        known = {
            "state": self.state,
            "audio_s": round(self.audio_s, 3),
            "dropped_s": round(self.dropped_s, 3),
            "chars": self.chars,
            "queue_wait_ms": _ms(self.queue_wait_s),
            "final_ms": _ms(self.final_s),
            "retries": self.retries,
            "code": self.code or None,
        }
        return {name: value for name, value in known.items() if value is not None}


class HearingMeasures(Protocol):
    """Who is told while a hearing goes on. Seconds."""

    def opened(self) -> None: ...

    def closed(self) -> None: ...

    def heard(self, audio_s: float, /) -> None:
        """A worker has worked on so much more."""

    def dropped(self, audio_s: float, /) -> None: ...

    def busy(self, seconds: float, audio_s: float) -> None:
        """The worker had audio at hand all that time, and worked on so much of it."""

    def partial(self, seconds: float, /) -> None:
        """Since the latest audio that this new text knows of was there."""

    def final(self, seconds: float, /) -> None: ...


class NoHearingMeasures:
    """Nobody asks."""

    def opened(self) -> None: ...

    def closed(self) -> None: ...

    def heard(self, audio_s: float, /) -> None: ...

    def dropped(self, audio_s: float, /) -> None: ...

    def busy(self, seconds: float, audio_s: float) -> None: ...

    def partial(self, seconds: float, /) -> None: ...

    def final(self, seconds: float, /) -> None: ...


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
