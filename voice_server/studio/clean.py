"""What is done to a recording before an engine hears it, and when it is refused instead. Pure but for two files.

Mono, no direct current, 48 kHz, silence cut at both ends, speech at one level, 16 bit. Nothing that changes how a voice
sounds: no denoiser, no compressor, no filter. The same file always gives the same samples.
"""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Sound = NDArray[np.float32]

RATE = 48_000  # Hz: no engine uses more, and each resamples from here to its own
_FRAME_S = 0.02  # over which a level is taken: a syllable has ten
_LEVEL_DB = -20.0  # of full scale, RMS while somebody speaks: what engines were trained with, and room for the peaks
_PEAK_DB = -1.0  # the decoder of a lossy format may add this much to it
_SILENT_DB = -50.0  # peak of a recording with nobody in it: even a quiet room is louder
_GATE_DB = -60.0  # frames below this are no part of the level, nor those far below the rest:
_RELATIVE_GATE_DB = -10.0  # as EBU R 128 gates, so that pauses do not count as quiet speech
_QUIET_DB = -30.0  # below the level of speech is silence at the ends; louder may be breath or a soft consonant
_MARGIN_S = 0.1  # of it that is kept: a voice rises and dies away within it
_FULL_SCALE = 0.9999
_ABSURD = 1e6  # of full scale, and so is what is no number: no arithmetic survives it
_CLIPPED = 0.02  # a share of samples at full scale: loud speech is far below, an overdriven microphone above
_MISSING_S = 0.1  # a lossy decoder's delay is less; more was lost
_BEYOND_S = 1.0  # what is decoded beyond the longest recording, to see that it is too long


class Refused(Exception):
    """The message says why, and what would be right."""


def clean_file(source: str, target: str, min_s: float, max_s: float) -> dict[str, str]:
    """Write the clean copy of a recording. `refused`: why it cannot be used; `unwritten`: what the disk said."""
    copy = io.BytesIO()  # libsndfile does not tell a disk that is full from anything else
    try:
        sound, rate = decode(source, max_s)
        soundfile.write(copy, clean(sound, rate, min_s), RATE, subtype="PCM_16", format="WAV")
    except Refused as refusal:
        return {"refused": str(refusal)}
    try:
        Path(target).write_bytes(copy.getvalue())
    except OSError as error:
        return {"unwritten": str(error.strerror)}
    return {}


def decode(source: str, max_s: float) -> tuple[Sound, int]:
    """All channels, and the rate. However long the file says it is, no more than a second too much is decoded."""
    try:
        with open(source, "rb", opener=_plain) as file, soundfile.SoundFile(file) as sound:
            rate = sound.samplerate
            samples: Sound = sound.read(int((max_s + _BEYOND_S) * rate), dtype="float32", always_2d=True)
            promised_s = sound.frames / rate
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise Refused("it is damaged and cannot be decoded: save it anew") from error
    held_s = len(samples) / rate
    if held_s > max_s:
        raise Refused(f"it lasts longer than {max_s:g} s, whatever its header says: cut it where nobody speaks")
    if held_s < promised_s - _MISSING_S:
        raise Refused(f"its header says {promised_s:.1f} s, but it holds {held_s:.1f} s: copy or save it once more")
    return samples, rate


def _plain(path: str, flags: int) -> int:
    """What was a plain file when it was judged may be a link to another by now."""
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refused("it is not a plain file any more: put the sound itself there")
    return fd


def clean(samples: Sound, rate: int, min_s: float) -> NDArray[np.int16]:
    """48 kHz mono of a recording (frames × channels). Raises Refused."""
    check(samples)
    mono = to_mono(samples)
    mono = mono - mono.mean()
    if decibels(np.abs(mono).max(initial=0.0)) < _SILENT_DB:
        raise Refused("it is silent: speak closer to the microphone, or choose the right one")
    sound: Sound = soxr.resample(mono, rate, RATE)
    level = speech_level(sound)
    spoken = trim(sound, level + _QUIET_DB)
    if len(spoken) < min_s * RATE:
        seconds = len(spoken) / RATE
        raise Refused(f"{seconds:.1f} s are left without the silence at its ends: speak for {min_s:g} s at least")
    return to_level(spoken, level)


def check(samples: Sound) -> None:
    if not (np.abs(samples) < _ABSURD).all():
        raise Refused("it holds samples that are no numbers: save it anew, as 16-bit wav")
    if np.mean(np.abs(samples) >= _FULL_SCALE) > _CLIPPED:
        raise Refused("it is overdriven: record it anew with the microphone turned down")


def to_mono(samples: Sound) -> Sound:
    """The mean of the channels; where they cancel each other out, the louder one."""
    mixed: Sound = samples.mean(axis=1)
    powers = np.mean(np.square(samples, dtype=np.float64), axis=0)
    if np.mean(np.square(mixed, dtype=np.float64)) >= powers.max(initial=0.0) / 4:  # half the level: one side is empty
        return mixed
    return samples[:, int(powers.argmax())]


def decibels(amplitude: float) -> float:
    return float(20 * np.log10(max(amplitude, 1e-9)))


def frame_powers(sound: Sound) -> NDArray[np.float64]:
    """Of whole frames, the last one filled with silence."""
    size = int(_FRAME_S * RATE)
    padded = np.pad(sound.astype(np.float64), (0, -len(sound) % size)).reshape(-1, size)
    powers: NDArray[np.float64] = np.mean(np.square(padded), axis=1)
    return powers


def speech_level(sound: Sound) -> float:
    """dB of full scale, RMS over the frames in which somebody speaks."""
    powers = frame_powers(sound)
    loud = powers[powers > 10 ** (_GATE_DB / 10)]
    spoken = loud[loud >= loud.mean() * 10 ** (_RELATIVE_GATE_DB / 10)] if len(loud) else powers
    return decibels(float(np.sqrt(spoken.mean())))


def trim(sound: Sound, quiet_db: float) -> Sound:
    """Without the silence before and after, but for a margin."""
    size, margin = int(_FRAME_S * RATE), int(_MARGIN_S * RATE)
    spoken = np.flatnonzero(frame_powers(sound) > 10 ** (quiet_db / 10))
    if not len(spoken):
        return sound[:0]
    return sound[max(0, int(spoken[0]) * size - margin) : (int(spoken[-1]) + 1) * size + margin]


def to_level(sound: Sound, level: float) -> NDArray[np.int16]:
    """At the level of speech that all voices have, or as loud as the peaks allow."""
    peak_db = decibels(np.abs(sound).max(initial=0.0))
    gain = 10 ** (min(_LEVEL_DB - level, _PEAK_DB - peak_db) / 20)
    return np.rint(sound.astype(np.float64) * gain * 32767).astype(np.int16)
