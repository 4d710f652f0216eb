"""An engine made of arithmetic: no model, every byte predictable, every fault on request.

It speaks in two triangle waves whose pitches are a hash of (text, voice, speed), computed in integers, so that the same
render gives the same bytes on any machine, and two texts never sound the same. It also "clones": a sample's strongest
pitch is that voice's pitch. It is how the gateway is tested and how it can be tried without an engine. Its faults are
described in `faults.py`.
"""

from __future__ import annotations

import time
import wave
import zlib
from typing import Callable, Dict, Iterator, List, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.faults import Fault, fail_load, plan
from voice_server.worker.adapter import BackendError

Samples = NDArray[np.float32]

_CYCLE = 1 << 32  # phases are 32-bit fractions of a cycle
_LEVEL = 0.35  # of full scale, for each of the two waves


class _Voice(NamedTuple):
    pitch_hz: float
    pace: float  # seconds of audio, relative to the first voice


_LOWEST_HZ, _HIGHEST_HZ = 60, 1000  # of a sample's pitch: below is hum, above the chords would be shrill
_VOICES = {"tone": _Voice(440.0, 1.0), "low": _Voice(220.0, 1.25), "high": _Voice(880.0, 0.8)}


def expected_samples(
    text: str, voice: str, speed: float = 1.0, sample_rate: int = 24000, seconds_per_char: float = 0.06
) -> int:
    """How many samples a render yields."""
    return _count(text, _VOICES[voice].pace, speed, sample_rate, seconds_per_char)


def _count(text: str, pace: float, speed: float, sample_rate: int, seconds_per_char: float) -> int:
    return int(len(text) * seconds_per_char * pace / speed * sample_rate)


def tone_pcm(
    text: str,
    voice: str,
    sample_rate: int = 24000,
    speed: float = 1.0,
    seconds_per_char: float = 0.06,
    pitch_hz: float = 0.0,
) -> Samples:
    """All that a render yields, float32 in [-1, 1], whatever its chunks; with `pitch_hz`, in the voice of a sample."""
    manner = _Voice(pitch_hz, 1.0) if pitch_hz else _VOICES[voice]
    count = _count(text, manner.pace, speed, sample_rate, seconds_per_char)
    return _speech(text, voice, manner.pitch_hz, sample_rate, speed)(0, count)


def sample_pitch_hz(path: str) -> float:
    """The pitch of a voice: the strongest one of its sample, a 16-bit mono wav, in whole Hz."""
    try:
        with wave.open(path, "rb") as file:
            rate, format_ = file.getframerate(), (file.getnchannels(), file.getsampwidth())
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    except (OSError, EOFError, wave.Error) as error:
        raise BackendError("unknown_voice", "the sample of this voice cannot be read") from error
    if format_ != (1, 2) or not samples.any():
        raise BackendError("unknown_voice", "the sample of this voice is not a 16-bit mono wav with a sound")
    powers = np.abs(np.fft.rfft(samples.astype(np.float64)))
    pitches = np.fft.rfftfreq(len(samples), 1 / rate)
    powers[(pitches < _LOWEST_HZ) | (pitches > _HIGHEST_HZ)] = 0.0
    return float(max(_LOWEST_HZ, round(pitches[int(powers.argmax())])))


def _speech(text: str, voice: str, pitch_hz: float, sample_rate: int, speed: float) -> Callable[[int, int], Samples]:
    """The function that gives the samples from one number to another."""
    digest = zlib.crc32(f"{voice}\0{speed:g}\0{text}".encode("utf-8", "replace"))
    octaves = (1 + (digest >> 16) / 65536, 1 + (digest & 0xFFFF) / 65536)  # the whole hash is in the two pitches
    steps = [int(pitch_hz * octave / sample_rate * _CYCLE) for octave in octaves]

    def samples(begin: int, end: int) -> Samples:
        numbers = np.arange(begin, end, dtype=np.uint64)
        waves = [_triangle(numbers * np.uint64(step) % np.uint64(_CYCLE)) for step in steps]
        return (_LEVEL * (waves[0] + waves[1])).astype(np.float32)

    return samples


def _triangle(phases: NDArray[np.uint64]) -> NDArray[np.float64]:
    return np.abs(phases.astype(np.float64) / (_CYCLE // 4) - 2.0) - 1.0


class ToneBackend:
    """The engine. All its times are slept, as if a GPU were at work, so many fit on a small machine.

    `speed_rtf`: seconds of work per second of audio. `first_chunk_s`: work before a render's first chunk. `load_s`:
    work of loading. `fault`, `load_fault`: see `faults.py`; a render's own option `fault` goes first. `record`: a file
    to which each start appends a line with its monotonic time.
    """

    deterministic = True

    def __init__(
        self,
        device: str = "cpu",
        *,
        speed_rtf: float = 0.0,
        first_chunk_s: float = 0.0,
        chunk_ms: int = 80,
        sample_rate: int = 24000,
        capacity: int = 1,
        seconds_per_char: float = 0.06,
        load_s: float = 0.0,
        fault: str = "",
        load_fault: str = "",
        record: str = "",
    ) -> None:
        if record:
            with open(record, "a", encoding="utf-8") as file:
                file.write(f"{time.monotonic()}\n")
        fail_load(load_fault)
        time.sleep(load_s)
        self.device = device
        self.sample_rate = sample_rate
        self.capacity = capacity
        self._speed_rtf = speed_rtf
        self._first_chunk_s = first_chunk_s
        self._chunk_samples = max(1, sample_rate * chunk_ms // 1000)
        self._seconds_per_char = seconds_per_char
        self._fault = fault
        self._voices: Dict[str, _Voice] = dict(_VOICES)

    def voices(self) -> List[str]:
        return list(_VOICES)

    def prepare_voice(self, voice: str, sample_path: str, transcript: str) -> None:
        if voice not in self._voices:
            self._voices[voice] = _Voice(sample_pitch_hz(sample_path), 1.0)

    def render(self, text: str, voice: str, *, speed: float = 1.0, fault: str = "") -> Iterator[Samples]:
        manner = self._voices.get(voice)
        if manner is None:
            raise BackendError("unknown_voice", f"no voice {voice!r}")
        if not 0.1 <= speed <= 10.0:
            raise BackendError("bad_option", "speed is between 0.1 and 10")
        count = _count(text, manner.pace, speed, self.sample_rate, self._seconds_per_char)
        speech = _speech(text, voice, manner.pitch_hz, self.sample_rate, speed)
        return self._chunks(speech, count, plan(fault or self._fault))

    def _chunks(self, speech: Callable[[int, int], Samples], count: int, fault: Fault) -> Iterator[Samples]:
        number, begin = 0, 0
        time.sleep(self._first_chunk_s)
        try:
            while begin < count or fault.is_endless:
                fault.strike(number)
                self.capacity = fault.holds(number, self.capacity)
                end = begin + self._chunk_samples if fault.is_endless else min(begin + self._chunk_samples, count)
                time.sleep((end - begin) / self.sample_rate * self._speed_rtf)
                yield fault.spoil(number, speech(begin, end))
                number, begin = number + 1, end
        except GeneratorExit:
            fault.linger()
            raise
