"""Who listens in the benches of scheduling: what they ask for and when, and what it is like to be one of them.

Pure, and shared by the real run (`bench.schedule`) and the simulated one (`bench.simulate`), so that both are asked the
same and judged alike.

The load: answers arrive as a Poisson process, each with 3 to 8 sentences of 40 to 100 characters. A load of 100 % asks
for as many seconds of audio per second as the workers can make, a render's first chunk included. The arrivals of a
period are drawn until they ask for exactly that, then placed at random in it: a Poisson process that is known not to
ask for a tenth more or less by chance, which 40 answers would easily do.

The listener: plays from the first byte on and buffers nothing, so that every lateness is heard.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from voice_server.core.audio.playhead import Playhead

SENTENCES = (3, 8)  # of an answer
CHARS = (40, 100)  # of a sentence
TOKEN_CHARS = 4
SEED = 4


@dataclass(frozen=True, slots=True)
class Engine:
    """The tone backend's times, and how many of it there are."""

    workers: int = 4
    rtf: float = 0.15  # of a chunk
    first_chunk_s: float = 0.025  # before a render's first chunk: reading a prompt costs real engines two steps
    chunk_s: float = 0.08
    seconds_per_char: float = 0.06
    step_s: float = 0.0005  # what a chunk takes beyond its real-time factor: whoever sleeps oversleeps, and then sends

    @property
    def effective_rtf(self) -> float:
        """Seconds of work per second of audio: each sentence pays for its first chunk once."""
        first = self.first_chunk_s / (sum(CHARS) / 2 * self.seconds_per_char)
        return self.rtf + self.step_s / self.chunk_s + first

    @property
    def audio_per_s(self) -> float:
        """Seconds of audio that all workers together make in a second."""
        return self.workers / self.effective_rtf


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    scheduling: str
    capacity: int  # renders that a worker holds open


def policies(capacity: int) -> list[Policy]:
    return [
        Policy("fifo", "fifo", 1),
        Policy("sentence-EDF", "deadline", 1),
        Policy("chunk-EDF", "deadline", capacity),
    ]


@dataclass(frozen=True, slots=True)
class Period:
    """Of a run: nothing counts while it warms up; the load stays on until what counts has ended, or for `drain_s`."""

    warm_up_s: float = 15.0
    seconds: float = 40.0
    drain_s: float = 25.0

    @property
    def ends_at(self) -> float:
        return self.warm_up_s + self.seconds

    @property
    def stops_at(self) -> float:
        return self.ends_at + self.drain_s


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer."""

    number: int
    at: float  # its first token
    counts: bool  # it began within the measured period
    chars: tuple[int, ...]  # of each sentence
    tokens_per_s: float = 0.0  # the model's pace; 0 is all at once

    def said_at(self, sentence: int) -> float:
        """When the model has said this sentence whole."""
        return self.at + (self.tokens_through(sentence) / self.tokens_per_s if self.tokens_per_s else 0.0)

    def tokens_through(self, sentence: int) -> int:
        """A token has 4 characters, and none has a part of two sentences."""
        return sum(-(-(chars + 1) // TOKEN_CHARS) for chars in self.chars[: sentence + 1])


def asked(engine: Engine, load: float, period: Period, tokens_per_s: float) -> list[Asked]:
    """All answers of a run, in the order of their arrival: the same ones for each policy. A load of 1.0 is 100 %."""
    draw = random.Random(f"{SEED} {load}")
    parts = [(0.0, period.warm_up_s), (period.warm_up_s, period.ends_at), (period.ends_at, period.stops_at)]
    answers: list[Asked] = []
    for place, (begin, end) in enumerate(parts):
        texts = list(_texts(draw, (end - begin) * engine.audio_per_s * load / engine.seconds_per_char))
        for at in sorted(draw.uniform(begin, end) for _ in texts):
            answers.append(Asked(len(answers), at, place == 1, texts.pop(), tokens_per_s))
    return answers


def _texts(draw: random.Random, chars: float) -> Iterator[tuple[int, ...]]:
    """Answers until they have so many characters together."""
    while chars > 0:
        text = tuple(draw.randint(*CHARS) for _ in range(draw.randint(*SENTENCES)))
        yield text
        chars -= sum(text)


@dataclass(slots=True)
class Listener:
    """What one answer was like. Times are seconds of the run."""

    asked: Asked
    playhead: Playhead = field(default_factory=Playhead)  # starts when the model has said the first sentence
    onset_s: float | None = None  # from there until something could be heard
    was_queued: bool = False
    was_refused: bool = False
    is_done: bool = False
    failed: int = 0  # sentences that ended early, since two workers died of them
    stopped_at: float = 0.0
    gaps_at: list[float] = field(default_factory=list)  # when each gap had ended

    @property
    def is_over(self) -> bool:
        return self.is_done or self.was_refused

    def hear(self, audio_s: float, now: float, silence_s: float | None = 0.0) -> None:
        """Audio came, of which the first `silence_s` are inaudible; None says that all of it is."""
        self._arrive(audio_s, now)
        if self.onset_s is None and silence_s is not None:
            plays_at = self.playhead.runs_out_at - audio_s
            self.onset_s = plays_at + silence_s - self._started_at

    def stop(self, now: float) -> None:
        """The run is over. Who still waits has waited at least so long."""
        self.stopped_at = now
        if not self.is_over and self.playhead.first_at is not None:
            self._arrive(0.0, now)

    def _arrive(self, audio_s: float, now: float) -> None:
        gaps = len(self.playhead.gaps)
        self.playhead.arrive(audio_s, now)
        if len(self.playhead.gaps) > gaps:
            self.gaps_at.append(now)

    @property
    def first_audio_s(self) -> float:
        """From the last character of the first sentence to the first byte, or to the end of the run."""
        heard_at = self.playhead.first_at
        return (self.stopped_at if heard_at is None else heard_at) - self._started_at

    @property
    def share_of_real_time(self) -> float:
        """1.0 is an answer that was heard at once and without a gap."""
        lasted_s = self.playhead.runs_out_at - self._started_at
        return self.playhead.received_s / lasted_s if self.playhead.received_s else 0.0

    @property
    def _started_at(self) -> float:
        return self.asked.said_at(0) if self.playhead.started_at is None else self.playhead.started_at
