"""Which waiting sentence starts next, and on which worker: earliest playout deadline first, over all streams.

The gateway knows, for every stream, when the audio it has delivered will run out. That instant is the deadline of the
stream's next sentence; the first sentence of an answer is due at once. Nobody listens to a whole-file request in real
time, so it counts as a listener who lags a fixed while behind, from its first sentence to its last: late enough to harm
no listener, however long the file, and fixed so that it cannot starve.

Laws (tests/unit/test_schedule_laws.py):
  * work-conserving: no free seat while a sentence that may start waits;
  * the sentences of a stream start in order, and a retry before its successors;
  * a deadline is an instant, not a distance, so every waiting sentence becomes the most urgent one in the end;
  * a cancelled stream leaves nothing behind but the seats its renders hold until the engine lets go of them;
  * a stream whose client does not take its audio is not rendered further ahead than `ahead_s`.

Pure: `now` is an argument, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from voice_server.core.limits import StreamLimits

CHARS_PER_S = 15.0  # of speech, until this backend's own rate has been measured
_MEMORY = 0.8  # weight of the past in the measured rate


@dataclass(frozen=True, slots=True)
class Assignment:
    """Start this sentence on this worker now. `deadline` is an instant of the caller's clock."""

    render_id: int
    stream: int
    sentence: int
    worker: str
    deadline: float


@dataclass(slots=True)
class _Waiting:
    sentence: int
    chars: int
    since: float


@dataclass(slots=True)
class _Render:
    sentence: int
    chars: int
    worker: str
    audio_s: float = 0.0


@dataclass(slots=True)
class _Stream:
    live: bool
    waiting: deque[_Waiting] = field(default_factory=deque)
    open: dict[int, _Render] = field(default_factory=dict)  # by render id
    runs_out_at: float = 0.0  # when the delivered audio will have been heard
    undelivered_s: float = 0.0  # rendered, not yet handed to the client's socket


@dataclass(slots=True)
class _Worker:
    capacity: int
    open: set[int] = field(default_factory=set)

    @property
    def free(self) -> int:
        return self.capacity - len(self.open)


class Scheduler:
    """The waiting line of one backend."""

    def __init__(self, limits: StreamLimits) -> None:
        self._limits = limits
        self._streams: dict[int, _Stream] = {}
        self._workers: dict[str, _Worker] = {}
        self._seats: dict[int, tuple[str, int]] = {}  # render id -> worker, stream
        self._chars_per_s = CHARS_PER_S
        self._next_render = 1

    # Workers

    def worker_ready(self, worker: str, capacity: int) -> None:
        self._workers[worker] = _Worker(capacity)

    def worker_gone(self, worker: str) -> None:
        """Its renders must have been released, one by one, before."""
        self._workers.pop(worker, None)

    # Streams

    def open_stream(self, stream: int, *, live: bool) -> None:
        self._streams[stream] = _Stream(live)

    def close_stream(self, stream: int) -> None:
        """Forget the stream. The seats of its open renders are freed by `released`."""
        self._streams.pop(stream, None)

    def submit(self, stream: int, sentence: int, chars: int, now: float) -> None:
        self._streams[stream].waiting.append(_Waiting(sentence, chars, now))

    def retry(self, stream: int, sentence: int, chars: int, now: float) -> None:
        """A sentence whose render died goes before its successors; they may be told to retry in any order."""
        waiting = self._streams[stream].waiting
        place = sum(1 for other in waiting if other.sentence < sentence)
        waiting.insert(place, _Waiting(sentence, chars, now))

    def clear(self, stream: int) -> list[int]:
        """Barge-in: drop what waits and was rendered. Returns the renders to cancel; they hold their seats still."""
        plan = self._streams[stream]
        renders = list(plan.open)
        self._streams[stream] = _Stream(plan.live)
        return renders

    def rendered(self, render_id: int, audio_s: float) -> None:
        """An open render produced audio."""
        plan, render = self._find(render_id)
        if plan and render:
            render.audio_s += audio_s
            plan.undelivered_s += audio_s

    def delivered(self, stream: int, audio_s: float, undelivered_s: float, now: float) -> None:
        """`audio_s` more was handed to the client's socket, `undelivered_s` of what was rendered is left."""
        if plan := self._streams.get(stream):
            plan.undelivered_s = undelivered_s
            if audio_s:
                plan.runs_out_at = max(plan.runs_out_at, now) + audio_s

    def released(self, render_id: int, *, complete: bool = False) -> None:
        """The engine has let go of a render: it is done (`complete`), failed, cancelled, or its worker is dead."""
        plan, render = self._find(render_id)
        if plan and render:
            if complete and render.audio_s > 0:
                self._chars_per_s = _MEMORY * self._chars_per_s + (1 - _MEMORY) * render.chars / render.audio_s
            del plan.open[render_id]
        worker, _ = self._seats.pop(render_id)
        if worker in self._workers:
            self._workers[worker].open.discard(render_id)

    # Decisions

    def assign(self, now: float) -> list[Assignment]:
        """Fill the free seats."""
        assignments: list[Assignment] = []
        while worker := self._freest_worker():
            stream = self._most_urgent(now)
            if stream is None:
                break
            assignments.append(self._start(stream, worker, now))
        return assignments

    def position(self, stream: int, now: float) -> int:
        """The place of a stream in the line of waiting streams, from 1; 0 when nothing of it waits."""
        if not self._streams[stream].waiting:
            return 0
        mine = self._urgency(self._streams[stream], now)
        return 1 + sum(
            1
            for other, plan in self._streams.items()
            if other != stream and plan.waiting and self._urgency(plan, now) < mine
        )

    @property
    def waiting_streams(self) -> int:
        return sum(1 for plan in self._streams.values() if plan.waiting)

    def waiting(self, stream: int) -> int:
        """Sentences of a stream that no worker has taken."""
        return len(self._streams[stream].waiting)

    def deadline(self, stream: int) -> float:
        """The instant at which the listener needs the first audio of the stream's next waiting sentence."""
        return self._deadline(self._streams[stream])

    def _find(self, render_id: int) -> tuple[_Stream | None, _Render | None]:
        plan = self._streams.get(self._seats[render_id][1])
        return plan, plan.open.get(render_id) if plan else None

    def _freest_worker(self) -> str | None:
        name = max(self._workers, key=lambda name: self._workers[name].free, default=None)
        return name if name is not None and self._workers[name].free > 0 else None

    def _most_urgent(self, now: float) -> int | None:
        startable = [stream for stream, plan in self._streams.items() if plan.waiting and self._may_start(plan)]
        return min(startable, key=lambda stream: self._urgency(self._streams[stream], now), default=None)

    def _may_start(self, plan: _Stream) -> bool:
        return plan.undelivered_s < self._limits.ahead_s

    def _urgency(self, plan: _Stream, now: float) -> tuple[bool, float]:
        """Streams that are ahead of their listener by the bounds come after all others, but they do come."""
        far_ahead = len(plan.open) >= self._limits.ahead_sentences or plan.runs_out_at - now >= self._limits.ahead_s
        deadline = self._deadline(plan)
        return far_ahead and deadline > now, deadline

    def _deadline(self, plan: _Stream) -> float:
        ahead_s = plan.undelivered_s + sum(self._remaining_s(render) for render in plan.open.values())
        slack_s = 0.0 if plan.live else self._limits.file_slack_s
        return max(plan.runs_out_at + ahead_s, plan.waiting[0].since) + slack_s

    def _remaining_s(self, render: _Render) -> float:
        return max(0.0, render.chars / self._chars_per_s - render.audio_s)

    def _start(self, stream: int, worker: str, now: float) -> Assignment:
        plan = self._streams[stream]
        deadline = self._deadline(plan)
        plan.runs_out_at = max(plan.runs_out_at, now)  # nothing of it is heard earlier, nor is its successor due
        next_up = plan.waiting.popleft()
        render_id, self._next_render = self._next_render, self._next_render + 1
        plan.open[render_id] = _Render(next_up.sentence, next_up.chars, worker)
        self._workers[worker].open.add(render_id)
        self._seats[render_id] = (worker, stream)
        return Assignment(render_id, stream, next_up.sentence, worker, deadline)
