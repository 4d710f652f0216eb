"""What a client got, as samples: decoded by ffmpeg's libraries (package av), timed, and read by a recogniser."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from tests.e2e.test_speech import RECOGNISER, word_error_rate
from voice_server.core.audio.pcm import wav_header
from voice_server.venvs import VenvStore

SAME_S = 0.02  # two durations of the same speech differ by less
# What a codec adds on top, as ffmpeg shows it at 24 kHz: mp3 has frames of 576 samples, and a delay that only a file
# written whole can tell of; aac has frames of 1024 and a delay that ADTS cannot tell of. Opus in Ogg, flac, wav and
# pcm say their end to the sample.
PADDING_S = {"mp3": 0.07, "aac": 0.09}
MOST_WORDS_WRONG = 0.15  # of short sentences: a tiny recogniser mishears some
_RATE = 16_000  # of the recogniser


@dataclass(frozen=True, slots=True)
class Sound:
    samples: np.ndarray  # float32, mono
    rate: int

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def loudness(self) -> float:
        return float(np.sqrt(np.mean(self.samples**2))) if len(self.samples) else 0.0


def from_pcm(pcm: bytes, rate: int) -> Sound:
    """Of s16le mono."""
    return Sound(np.frombuffer(pcm, "<i2").astype(np.float32) / 32768, rate)


def decode(data: bytes, format: str | None = None) -> Sound:
    """Of anything in a container: wav, mp3, flac, ogg, adts … `format` helps where the bytes do not say it."""
    import av  # only in the group `compat`

    with av.open(io.BytesIO(data), format=format) as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    parts = [frame.to_ndarray().reshape(-1) for frame in frames]
    return Sound(np.concatenate(parts) if parts else np.zeros(0, np.float32), rate)


def assert_lasts(sound: Sound, expected_s: float, format: str = "pcm") -> None:
    """As long as it should be, to 20 ms; compressed formats may be longer by their padding, never shorter."""
    longest_s = expected_s + SAME_S + PADDING_S.get(format, 0.0)
    assert expected_s - SAME_S <= sound.seconds <= longest_s, f"{format}: {sound.seconds:.3f} s, not {expected_s:.3f} s"


def assert_says(heard: str, text: str) -> None:
    """All of it, and its last word."""
    assert word_error_rate(text, heard) <= MOST_WORDS_WRONG, heard
    last, *_ = reversed(text.lower().rstrip(".!?").split())
    assert last in heard.lower(), f"{last!r} is not the end of {heard!r}"


class Recogniser:
    """faster-whisper in an environment of its own, which is built on first use."""

    def __init__(self, folder: Path) -> None:
        self._wav = folder / "heard.wav"
        self._script = Path(__file__).parents[1] / "e2e" / "recogniser.py"

    def __call__(self, sound: Sound) -> str:
        python = VenvStore().build("recogniser", RECOGNISER, report=print)
        samples = soxr.resample(sound.samples, sound.rate, _RATE)
        pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
        self._wav.write_bytes(wav_header(_RATE, len(pcm)) + pcm)
        told = subprocess.run([python, "-I", self._script, self._wav], stdout=subprocess.PIPE, check=True)
        return str(json.loads(told.stdout)[0])
