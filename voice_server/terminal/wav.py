"""Writes an answer's audio to a file while it arrives: `.pcm` and `.raw` as it is, anything else by soundfile.

The file is made with the first audio, at the rate the server announced; an answer without audio leaves no file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import soundfile

from voice_server.core.errors import VoiceError
from voice_server.terminal.answer import SAMPLE_BYTES

RAW_SUFFIXES = {".pcm", ".raw"}


class CannotWrite(VoiceError):
    code = "cannot_write"


class WavFile:
    """A sink for PCM s16le mono. Raises CannotWrite."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._pcm_bytes = 0
        self._sample_rate = 0

    def write(self, pcm: bytes, sample_rate: int) -> None:
        try:
            if self._file is None:
                self._file = _open(self._path, sample_rate)
            self._write(pcm)
        except (OSError, soundfile.SoundFileError, TypeError, ValueError) as error:
            raise CannotWrite(f"cannot write {self._path}: {error}") from error
        self._pcm_bytes += len(pcm)
        self._sample_rate = sample_rate

    def stop(self) -> None:
        """What has arrived stays in the file."""

    async def finish(self) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def wrote(self) -> str:
        """The line that says so, or nothing when there was no audio."""
        if not self._pcm_bytes:
            return ""
        seconds = self._pcm_bytes / SAMPLE_BYTES / self._sample_rate
        return f"wrote {self._path} ({seconds:.1f} s, {self._sample_rate} Hz)"

    def _write(self, pcm: bytes) -> None:
        if isinstance(self._file, soundfile.SoundFile):
            self._file.buffer_write(pcm, dtype="int16")
        else:
            self._file.write(pcm)


def check_writable(path: Path) -> None:
    """Says so before a long wait, rather than after it. Raises CannotWrite."""
    if not path.parent.is_dir():
        raise CannotWrite(f"cannot write {path}: there is no folder {path.parent}")
    if path.suffix.lower() not in RAW_SUFFIXES and path.suffix[1:].upper() not in soundfile.available_formats():
        raise CannotWrite(f"cannot write {path}: end it in .wav, .flac, .ogg or .mp3, or in .pcm for bare samples")


def _open(path: Path, sample_rate: int) -> Any:
    if path.suffix.lower() in RAW_SUFFIXES:
        return path.open("wb")
    return soundfile.SoundFile(path, "w", samplerate=sample_rate, channels=1)
