"""What the scheduler knows at one moment, for people: values only, nothing of any client's text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerState:
    name: str
    capacity: int
    open: list[int]  # render ids, cancelled ones that the engine has not let go of included
    rtf: float | None  # seconds of work per second of audio, all its renders together; None before it was measured
    first_chunk_s: float | None  # from the start of a render to its first audio


@dataclass(frozen=True, slots=True)
class Place:
    """In the line of waiting streams."""

    position: int  # from 1
    eta_s: float | None  # None where nothing has been measured yet


@dataclass(frozen=True, slots=True)
class StreamState:
    stream: int
    live: bool
    client: str
    admitted: bool
    place: Place | None  # in the line; None: nothing of it waits
    ahead_s: float  # audio rendered but not heard yet
    rendered_s: float  # audio of this answer
    waiting: int  # sentences
    open: list[int]  # render ids


@dataclass(frozen=True, slots=True)
class RenderState:
    render_id: int
    stream: int
    sentence: int
    worker: str
    voice: str
    audio_s: float
    due_in_s: float


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    workers: list[WorkerState]
    streams: list[StreamState]
    renders: list[RenderState]
    deadline_misses: int  # audio that came after its listener had run out
