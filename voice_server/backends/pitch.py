"""An engine that listens without a model: it writes down how long each sound lasted and how high it was.

A stretch of sound between two pauses is a word such as "440hz"; it is certain as soon as the pause is long enough, and
tentative while it lasts. Each word depends on its own samples alone, so the same audio is the same text however it was
cut, on any machine. It is how hearings are tested, and how they can be tried without an engine.
"""

from __future__ import annotations

import time
from typing import List, Optional

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.faults import Fault, fail_load, plan
from voice_server.worker.adapter import Heard

Samples = NDArray[np.float32]

_FRAME = 320  # samples, 20 ms
_LOUD = 0.01  # of full scale, RMS: -40 dBFS
_PAUSE_FRAMES = 10  # of silence that end a word


class PitchRecogniser:
    """`work_s`: slept for each second of audio. `fault`: see `faults.py`; its chunks are words here."""

    sample_rate = 16_000

    def __init__(
        self, device: str = "cpu", *, capacity: int = 4, work_s: float = 0.0, fault: str = "", load_fault: str = ""
    ) -> None:
        fail_load(load_fault)
        self.capacity = capacity
        self._work_s = work_s
        self._fault = fault

    def languages(self) -> List[str]:
        return ["en"]

    def listen(self, *, fault: str = "") -> PitchHearing:
        return PitchHearing(self._work_s, plan(fault or self._fault))


class PitchHearing:
    def __init__(self, work_s: float, fault: Fault) -> None:
        self._work_s = work_s
        self._fault = fault
        self._waiting: Samples = np.zeros(0, dtype=np.float32)
        self._word: List[Samples] = []  # frames of the sound that lasts
        self._silent = 0  # frames since it was last heard
        self._frames = 0  # worked on
        self._words = 0
        self._is_finished = False

    def hear(self, samples: Samples) -> None:
        self._waiting = np.concatenate([self._waiting, samples])

    def finish(self) -> None:
        self._is_finished = True

    def work(self) -> Optional[Heard]:
        """At most one word."""
        while len(self._waiting) >= _FRAME:
            frame, self._waiting = self._waiting[:_FRAME], self._waiting[_FRAME:]
            time.sleep(self._work_s * _FRAME / PitchRecogniser.sample_rate)
            self._frames += 1
            if self._listen_to(frame):
                return self._end_word()
        if self._is_finished and self._word:
            return self._end_word()
        return None

    def _listen_to(self, frame: Samples) -> bool:
        """Whether a word is over."""
        if float(np.sqrt(np.mean(frame.astype(np.float64) ** 2))) >= _LOUD:
            self._word.append(frame)
            self._silent = 0
        elif self._word:
            self._silent += 1
        return self._silent >= _PAUSE_FRAMES

    def _end_word(self) -> Heard:
        self._fault.strike(self._words)
        self._words += 1
        end = self._frames - self._silent
        start, now = end - len(self._word), self._frames
        text = " " + _pitch(np.concatenate(self._word))
        self._word, self._silent = [], 0
        seconds = _FRAME / PitchRecogniser.sample_rate
        return Heard(text, start * seconds, end * seconds, settled_s=now * seconds)


def _pitch(samples: Samples) -> str:
    """The strongest frequency, in words that do not depend on rounding: to 10 Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    strongest = float(np.argmax(spectrum)) * PitchRecogniser.sample_rate / len(samples)
    return f"{round(strongest / 10) * 10}hz"
