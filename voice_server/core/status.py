"""What the server is doing right now, as values: one look at it, for `/status`, `/metrics` and `top` alike.

Holds no text of a client: a voice is named only if the backend has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# `spare` is ready and has nothing to do until it takes a place; `leaving` finishes what it has and is replaced.
WORKER_STATES = ("waiting", "loading", "ready", "spare", "leaving", "restarting", "broken", "failed", "stopped")
# Why a worker is lost: its process ended by itself or was killed from outside; it broke the protocol, was silent, did
# not let go of a cancelled render, could not load, or said itself that it cannot go on.
DEATHS = ("exited", "killed", "protocol", "silent", "cancel", "load", "engine")
StreamState = Literal["speaking", "waiting", "idle"]


@dataclass(frozen=True, slots=True)
class RenderStatus:
    stream: int
    sentence: int
    voice: str
    audio_s: float  # rendered so far
    due_in_s: float  # when the listener needs its next audio; below 0 it is late


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    name: str
    state: str  # of its slot: one of WORKER_STATES
    stage: str  # of launch and loading
    pid: int
    restarts: int
    capacity: int  # 0: not known yet
    open_renders: int  # cancelled ones too, until the engine lets go of them
    real_time_factor: float | None  # measured: seconds of work per second of audio
    first_chunk_s: float | None  # measured
    renders: tuple[RenderStatus, ...]
    host: str = ""  # the machine it runs on; "" is the gateway's


@dataclass(frozen=True, slots=True)
class StreamStatus:
    id: int
    live: bool  # False: a whole file
    client: str
    voice: str
    state: StreamState
    heard_s: float  # of the current answer; 0 for a file, to which nobody listens
    ahead_s: float  # rendered and not heard yet
    runs_out_in_s: float  # what the client has got by now
    waiting: int  # sentences
    open_renders: int
    admitted: bool  # False: the workers cannot carry one more listener now
    position: int  # in the line of streams of which something waits, from 1; 0: not in it
    eta_s: float | None  # until a worker takes its next sentence, as far as speeds are known


@dataclass(frozen=True, slots=True)
class DecisionStatus:
    before: int  # workers
    after: int
    reason: str
    age_s: float


@dataclass(frozen=True, slots=True)
class ScalingStatus:
    """How many workers there are, spares not counted, and how many there may be; the same number thrice is fixed."""

    workers: int  # open slots, loading ones too
    min: int
    max: int
    wanted: int  # as many as what is needed now takes
    ups: int  # decisions so far
    downs: int
    last: DecisionStatus | None  # None: there was none yet


@dataclass(frozen=True, slots=True)
class BackendStatus:
    name: str
    deadline_misses: int
    workers: tuple[WorkerStatus, ...]
    streams: tuple[StreamStatus, ...]
    kind: str = "tts"  # it speaks; "stt": it listens, its renders are hearings, and it has no streams
    waiting: int = 0  # hearings in line for a seat
    deaths: Mapping[str, int] = field(default_factory=dict)  # of workers, by one of DEATHS
    scaling: ScalingStatus | None = None  # None: told by nobody

    @property
    def ahead_s(self) -> float:
        """Audio rendered for listeners and not heard yet."""
        return sum(stream.ahead_s for stream in self.streams if stream.live)

    @property
    def open_renders(self) -> int:
        return sum(worker.open_renders for worker in self.workers)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    version: str
    uptime_s: float
    draining: bool
    backends: tuple[BackendStatus, ...]


def stream_state(*, ahead_s: float, waiting: int, open_renders: int) -> StreamState:
    """A stream that has nothing to be heard and has a sentence to be spoken waits, be it for a worker or its audio."""
    if ahead_s > 0:
        return "speaking"
    return "waiting" if waiting or open_renders else "idle"
