"""What a hearing tells its client, one value object per event. A door's protocol table turns them into messages.

`TextHeard.text` only ever grows: each one begins with the one before, and so does that of `HearingDone`. A hearing ends
with exactly one of `HearingDone` and `HearingProblem`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voice_server.core.errors import VoiceError


@dataclass(frozen=True, slots=True)
class Segment:
    text: str  # with the space that belongs before it
    start_s: float  # in the audio of the hearing
    end_s: float


@dataclass(frozen=True, slots=True)
class TextHeard:
    text: str  # all that is certain
    tentative: str  # what seems to follow, and may change


@dataclass(frozen=True, slots=True)
class AudioDropped:
    """The workers are behind: this audio will never be text."""

    dropped_s: float  # in all
    backlog_s: float  # that waits to be worked on


@dataclass(frozen=True, slots=True)
class HearingDone:
    text: str
    segments: tuple[Segment, ...]
    duration_s: float  # of the audio


@dataclass(frozen=True, slots=True)
class HearingProblem:
    error: VoiceError


HearingEvent = TextHeard | AudioDropped | HearingDone | HearingProblem


def joined(segments: Sequence[Segment]) -> str:
    return "".join(segment.text for segment in segments).strip()
