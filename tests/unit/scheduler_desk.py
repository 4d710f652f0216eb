"""A scheduler at work, for tests of its decisions: streams A to E of five clients, and the stream FILE."""

from __future__ import annotations

from dataclasses import replace

from voice_server.core.limits import StreamLimits
from voice_server.core.scheduling.plan import Assignment
from voice_server.core.scheduling.schedule import Scheduler

LIMITS = replace(StreamLimits(), spare_s=0.0)  # so that the numbers are round
NOW = 1000.0
A, B, C, D, E = 1, 2, 3, 4, 5
FILE = 9
SHORT, LONG = 15, 150  # characters: 1 s and 10 s of speech


class Desk:
    """A scheduler with workers and streams, and what they report."""

    def __init__(self, *capacities: int, limits: StreamLimits = LIMITS, fifo: bool = False) -> None:
        self.scheduler = Scheduler(limits, fifo=fifo)
        for number, capacity in enumerate(capacities):
            self.scheduler.worker_ready(f"w{number}", capacity)
        for stream in (A, B, C, D, E):
            self.scheduler.open_stream(stream, live=True, client=f"client {stream}")
        self.scheduler.open_stream(FILE, live=False)

    def say(self, stream: int, *sentences: int, chars: int = SHORT, now: float = NOW) -> None:
        for sentence in sentences or (0,):
            self.scheduler.submit(stream, sentence, chars, now)

    def start(self, now: float = NOW) -> list[tuple[int, int]]:
        return [(one.stream, one.sentence) for one in self.scheduler.assign(now)]

    def one(self, now: float = NOW) -> Assignment:
        (assignment,) = self.scheduler.assign(now)
        return assignment

    def hear(self, render: Assignment, audio_s: float, now: float, *, deliver: bool = True) -> None:
        self.scheduler.rendered(render.render_id, audio_s, now)
        if deliver:
            self.scheduler.delivered(render.stream, audio_s, 0.0, now)

    def done(self, render: Assignment, audio_s: float, now: float, *, deliver: bool = True) -> None:
        self.hear(render, audio_s, now, deliver=deliver)
        self.scheduler.released(render.render_id, now, complete=True)

    def lose(self, render: Assignment, now: float) -> None:
        self.scheduler.released(render.render_id, now)

    def measure(self, rtf: float, *, stream: int = E, now: float = NOW - 100.0) -> None:
        """Each worker is idle and speaks 10 s at this speed; 15 characters are a second from then on."""
        workers = len(self.scheduler.snapshot(now).workers)
        self.say(stream, *range(workers), chars=LONG, now=now)
        for render in self.scheduler.assign(now):
            self.done(render, 10.0, now + 10.0 * rtf)
        self.scheduler.clear(stream)

    def admitted(self) -> set[int]:
        return {one.stream for one in self.scheduler.snapshot(NOW).streams if one.live and one.admitted}
