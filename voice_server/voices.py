"""The folder of voice samples: `name.wav` (mp3, flac, ogg) is the voice `name`, `name.txt` beside it its transcript.

A voice is only ever a key of the table that scanning builds; no client's word becomes part of a path. Files are judged
by their header — decoding happens in workers — and what does not fit is left out with a reason for the operator.
Scanning blocks for as long as new files take to hash; unchanged ones cost one stat.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import soundfile

from voice_server.core.limits import VoiceLimits
from voice_server.core.voice_names import is_voice_name

_log = logging.getLogger(__name__)

SUFFIXES = (".wav", ".mp3", ".flac", ".ogg")


@dataclass(frozen=True, slots=True)
class Sample:
    """A voice to be cloned."""

    name: str
    path: Path
    transcript: str  # "" when there is none
    key: str  # changes with the sample and with its transcript
    duration_s: float


class BadSample(Exception):
    """A file that cannot be a voice; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What changes when a file does."""

    audio: tuple[int, int, int]  # inode, size, mtime
    text: tuple[int, int, int]


_NO_FILE = (0, 0, 0)


class VoiceStore:
    """`samples` and `problems` are as of the last `scan`, each by voice name or file name."""

    def __init__(self, folder: Path, limits: VoiceLimits) -> None:
        self.samples: dict[str, Sample] = {}
        self.problems: dict[str, str] = {}
        self._folder = folder
        self._limits = limits
        self._seen: dict[Path, tuple[_Stamp, Sample | str]] = {}

    def scan(self) -> None:
        seen = {path: self._look(path) for path in self._files()}
        samples: dict[str, Sample] = {}
        problems: dict[str, str] = {}
        for path, (_, found) in seen.items():
            if isinstance(found, str):
                problems[path.name] = found
            elif found.name in samples:
                problems[path.name] = (
                    f"there is another file for the voice {found.name}: {samples[found.name].path.name}"
                )
            else:
                samples[found.name] = found
        for file, problem in problems.items():
            if self.problems.get(file) != problem:
                _log.warning("voice sample %s is left out: %s", file, problem)
        self._seen, self.samples, self.problems = seen, samples, problems

    def _files(self) -> list[Path]:
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            return []
        return [self._folder / name for name in names if name.lower().endswith(SUFFIXES)]

    def _look(self, path: Path) -> tuple[_Stamp, Sample | str]:
        stamp = _Stamp(_stat(path), _stat(path.with_suffix(".txt")))
        known = self._seen.get(path)
        if known and known[0] == stamp:
            return known
        try:
            return stamp, read_sample(path, self._limits)
        except BadSample as problem:
            return stamp, str(problem)


def _stat(path: Path) -> tuple[int, int, int]:
    try:
        found = path.lstat()
    except OSError:
        return _NO_FILE
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_sample(path: Path, limits: VoiceLimits) -> Sample:
    """The voice of one file. Raises BadSample."""
    if not is_voice_name(path.stem):
        raise BadSample("its name is not one a voice can have: letters, digits, space and + - . _")
    content = _read_regular(path, limits.sample_bytes)
    duration_s = _check_header(content, limits)
    transcript = _transcript(path.with_suffix(".txt"), limits)
    key = hashlib.sha256(content + b"\0" + transcript.encode()).hexdigest()[:32]
    return Sample(path.stem, path.absolute(), transcript, key, duration_s)


def _read_regular(path: Path, most: int) -> bytes:
    """A plain file's bytes. Links, pipes and devices may lead anywhere, or never end."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadSample(f"it cannot be opened ({error.strerror}); links are not followed") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadSample("it is not a plain file")
    with os.fdopen(fd, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BadSample(f"it is larger than {most // 2**20} MiB")
    return content


def _check_header(content: bytes, limits: VoiceLimits) -> float:
    """The duration in seconds, as the header has it."""
    try:
        header = soundfile.info(io.BytesIO(content))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadSample("it is not a sound file that can be read: wav, mp3, flac or ogg") from error
    if not limits.sample_rate_min <= header.samplerate <= limits.sample_rate_max:
        raise BadSample(f"its rate is {header.samplerate} Hz, not {limits.sample_rate_min} to {limits.sample_rate_max}")
    if header.channels > limits.sample_channels:
        raise BadSample(f"it has {header.channels} channels, not 1 or 2")
    duration_s = header.frames / header.samplerate
    if not limits.sample_min_s <= duration_s <= limits.sample_max_s:
        least, most = limits.sample_min_s, limits.sample_max_s
        raise BadSample(f"it lasts {duration_s:.1f} s, not {least:g} to {most:g}; cut it where nobody speaks")
    return float(duration_s)


def _transcript(path: Path, limits: VoiceLimits) -> str:
    if not path.exists():
        return ""
    try:
        text = _read_regular(path, limits.transcript_chars * 4).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSample("its transcript is not UTF-8") from error
    if len(text) > limits.transcript_chars:
        raise BadSample(f"its transcript is longer than {limits.transcript_chars} characters")
    return " ".join(text.split())
