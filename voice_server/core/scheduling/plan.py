"""Where one stream stands: what waits, what is being rendered, and when its listener will need it. Pure.

A deadline is the instant at which the listener will have played everything before. While audio is played as fast as
time passes it stands still, whatever is rendered or delivered meanwhile; only a gap, a slow client or a sentence that
turned out shorter than it looked move it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from voice_server.core.scheduling.snapshot import Place, RenderState, StreamState

Seconds = Callable[[str, int], float]  # of audio that a voice takes for so many characters


@dataclass(slots=True)
class Waiting:
    sentence: int
    chars: int
    since: float
    avoid: str = ""  # the worker that made nothing good of it


@dataclass(frozen=True, slots=True)
class Assignment:
    """Start this sentence on this worker now. `deadline` is an instant of the caller's clock."""

    render_id: int
    stream: int
    sentence: int
    worker: str
    deadline: float
    pace: float  # by how many seconds each second of its audio moves the deadline on


@dataclass(slots=True)
class RenderPlan:
    render_id: int
    stream: int
    sentence: int
    chars: int
    worker: str
    due_at: float  # as the worker was told, moved on by what it rendered since
    voice: str = ""
    audio_s: float = 0.0

    def left_s(self, seconds: Seconds) -> float:
        """Of audio that it still has to make."""
        return max(0.0, seconds(self.voice, self.chars) - self.audio_s)

    def state(self, now: float) -> RenderState:
        due_in_s = self.due_at - now
        return RenderState(self.render_id, self.stream, self.sentence, self.worker, self.voice, self.audio_s, due_in_s)


@dataclass(slots=True)
class StreamPlan:
    live: bool
    client: str
    waiting: deque[Waiting] = field(default_factory=deque)
    open: dict[int, RenderPlan] = field(default_factory=dict)  # by render id
    ended: dict[int, float] = field(default_factory=dict)  # sentence -> audio_s of renders that overtook another
    runs_out_at: float = 0.0  # when the delivered audio will have been heard
    undelivered_s: float = 0.0  # rendered, not yet handed to the client's socket
    made_s: float = 0.0  # audio of this answer
    voice: str = ""  # of its latest render
    is_admitted: bool = False
    opening: int = 0  # the sentence that this answer begins with
    is_complete: bool = False  # no more text will come in this answer

    def begin(self, opening: int) -> None:
        """A new answer. What was delivered of the one before is still to be heard."""
        self.opening = opening
        self.is_complete = False
        self.made_s = 0.0
        self.ended.clear()  # sentences are numbered anew

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.open

    @property
    def would_begin(self) -> bool:
        """What is said next begins an answer."""
        return self.is_idle and (self.is_complete or not self.is_admitted)

    @property
    def has_spoken(self) -> bool:
        """Something of this answer can be heard already."""
        return self.made_s > 0

    @property
    def is_first(self) -> bool:
        """The next waiting sentence is the one that this answer begins with."""
        return self.live and bool(self.waiting) and self.waiting[0].sentence == self.opening

    @property
    def is_ahead(self) -> bool:
        """Something before the next waiting sentence is being rendered; what comes after a lost one does not count."""
        return bool(self.waiting) and any(one.sentence < self.waiting[0].sentence for one in self.open.values())

    @property
    def deliverable_s(self) -> float:
        """Rendered audio that only the client keeps waiting, not a sentence before it."""
        return self._ready_s(self._head)

    def audible_until(self, now: float) -> float:
        """When the listener will have played all that can be delivered."""
        ready_s = self.deliverable_s
        return max(self.runs_out_at, now) + ready_s if ready_s > 0 else self.runs_out_at

    def next_due(self, now: float, seconds: Seconds) -> float:
        """When the first waiting sentence is needed: nothing of it can be before it was said."""
        first = self.waiting[0]
        return max(self._needed_at(first.sentence, now, seconds), first.since)

    def due(self, render: RenderPlan, now: float, seconds: Seconds) -> float:
        """When the next audio of an open render is needed."""
        return self._needed_at(render.sentence, now, seconds)

    def close(self, render: RenderPlan) -> None:
        """The engine is done with it. Even of what it completed it may be asked again, before what overtook it."""
        del self.open[render.render_id]
        self.ended[render.sentence] = render.audio_s  # also of one that failed: its listener hears what it said
        first = min(self._head, render.sentence)
        self.ended = {key: value for key, value in self.ended.items() if key > first}

    def overtake(self, sentence: int, audio_s: float) -> None:
        """A whole sentence is there that no worker made; those before it may not be."""
        if sentence > self._head:
            self.ended[sentence] = audio_s
        self.undelivered_s += audio_s
        self.made_s += audio_s

    def left_s(self, seconds: Seconds) -> float:
        """Of audio that the known text still needs."""
        open_s = sum(render.left_s(seconds) for render in self.open.values())
        return open_s + seconds(self.voice, sum(waiting.chars for waiting in self.waiting))

    def state(self, stream: int, place: Place | None, now: float) -> StreamState:
        ahead_s = max(0.0, self.audible_until(now) - now)
        told = (self.live, self.client, self.is_admitted, place, ahead_s, self.made_s)
        return StreamState(stream, *told, waiting=len(self.waiting), open=list(self.open))

    @property
    def _head(self) -> float:
        """The first sentence that is not complete."""
        first = self.waiting[0].sentence if self.waiting else math.inf
        for render in self.open.values():
            first = min(first, render.sentence)
        return first

    def _ready_s(self, sentence: float) -> float:
        """Of audio that is rendered and comes before the rest of a sentence."""
        later = 0.0
        for render in self.open.values():
            if render.sentence > sentence:
                later += render.audio_s
        for other, audio_s in self.ended.items():
            if other > sentence:
                later += audio_s
        return max(0.0, self.undelivered_s - later)

    def _needed_at(self, sentence: int, now: float, seconds: Seconds) -> float:
        """When the listener will have played what comes before the rest of a sentence."""
        ready_s = self._ready_s(sentence)
        before = [render.left_s(seconds) for render in self.open.values() if render.sentence < sentence]
        plays_on = before or ready_s > 0
        return (max(self.runs_out_at, now) if plays_on else self.runs_out_at) + ready_s + sum(before)
