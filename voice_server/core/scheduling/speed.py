"""How fast things are: measured, never configured. Averages that forget, over what was seen. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

_FORGET_AFTER = 20.0  # seconds of audio: a few sentences, so that a GPU that slows down is noticed while they play
_BELIEVE_AFTER = 0.5  # seconds of audio before a ratio is believed
_MOST_VOICES = 256  # rates of speech remembered


@dataclass(slots=True)
class Ratio:
    """Something per second of audio, as the ratio of two sums: one nearly silent render cannot skew it."""

    what: float = 0.0
    audio_s: float = 0.0

    def add(self, what: float, audio_s: float) -> None:
        kept = math.exp(-audio_s / _FORGET_AFTER)
        self.what = self.what * kept + what
        self.audio_s = self.audio_s * kept + audio_s

    @property
    def value(self) -> float | None:
        return self.what / self.audio_s if self.audio_s >= _BELIEVE_AFTER else None


@dataclass(slots=True)
class Mean:
    """An exponentially weighted mean of what was seen; None before the first time."""

    value: float | None = None
    memory: float = 0.8  # weight of the past

    def add(self, seen: float) -> None:
        self.value = seen if self.value is None else self.memory * self.value + (1 - self.memory) * seen


class WorkerSpeed:
    """What one worker takes, whatever renders it steps in between.

    Its time is divided among its messages: each one accounts for the time since the one before, or since the worker
    had something to do at all. So prefill, stepping and every pause of the engine are in the real-time factor.
    """

    def __init__(self) -> None:
        self._work = Ratio()
        self._step = Mean()
        self._first = Mean()
        self._busy_since = 0.0

    @property
    def real_time_factor(self) -> float | None:
        """Seconds of work per second of audio, all renders of the worker together."""
        return self._work.value

    @property
    def first_chunk_s(self) -> float | None:
        """From the start of a render to its first audio, the steps of others in between included."""
        return self._first.value

    def busy(self, now: float) -> None:
        """It had nothing to do until now."""
        self._busy_since = now

    def gave(self, audio_s: float, now: float, waited_s: float | None) -> None:
        """A message with so much audio came; `waited_s` since the start of a render whose first one it is."""
        took_s, self._busy_since = max(0.0, now - self._busy_since), now
        self._work.add(took_s, audio_s)
        if waited_s is not None:
            self._first.add(waited_s)
        elif audio_s:
            self._step.add(took_s)

    def until_free_s(self, now: float) -> float:
        """What is left of the step that it is in, as far as one can know."""
        return max(0.0, self._busy_since + self.step_s - now)

    @property
    def step_s(self) -> float:
        return self._step.value or 0.0


class SpeechRate:
    """Characters per second of speech, of each voice; all voices together where one was not heard yet."""

    def __init__(self, guess: float) -> None:
        self._guess = guess
        self._all = Ratio()
        self._voices: dict[str, Ratio] = {}

    def add(self, voice: str, chars: int, audio_s: float) -> None:
        self._all.add(chars, audio_s)
        if len(self._voices) >= _MOST_VOICES:
            self._voices.clear()
        self._voices.setdefault(voice, Ratio()).add(chars, audio_s)

    def seconds(self, voice: str, chars: int) -> float:
        """How long it takes to say so many characters."""
        own = self._voices.get(voice)
        return chars / ((own and own.value) or self._all.value or self._guess)
