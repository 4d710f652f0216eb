"""Uploaded sound as PCM at the rate that an engine hears: decoded piece by piece, in a process of its own.

Promises: only headers are read in this process; the sound stays off the disk; whoever stops reading ends the decoder,
and it is never more than a piece and a pipe ahead of who reads.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import soundfile

from voice_server.core.audio.pcm import SAMPLE_BYTES
from voice_server.core.doors.limits import TranscriptionLimits
from voice_server.core.errors import AudioTooLong, UnknownFormat
from voice_server.pool.process import Command, Printing

_STUDIO = Path(__file__).parents[1] / "studio" / "__main__.py"
_TOO_LONG = 4  # the exit code of studio/decode
_ENVIRON = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG")  # no secret of ours is near an evil file


def check_header(sound: bytes, limits: TranscriptionLimits) -> None:
    """Judges what the head of a file says. Raises UnknownFormat and AudioTooLong."""
    try:
        header = soundfile.info(io.BytesIO(sound))
    except (soundfile.LibsndfileError, RuntimeError):
        raise UnknownFormat("it is no sound that can be read: send wav, mp3, flac or ogg", field="file") from None
    if header.channels > limits.channels or not limits.sample_rate_min <= header.samplerate <= limits.sample_rate_max:
        rates = f"{limits.sample_rate_min} to {limits.sample_rate_max} Hz"
        told = f"at most {limits.channels} channels at {rates}; send mono at 16000 Hz"
        raise UnknownFormat(told, field="file")
    if header.frames > limits.longest_s * header.samplerate and not _is_unknown(header.frames):
        raise _too_long(limits)


@asynccontextmanager
async def decoded(sound: bytes, rate: int, limits: TranscriptionLimits) -> AsyncIterator[AsyncIterator[bytes]]:
    """Pieces of PCM s16le, in whole samples. Reading them raises UnknownFormat and AudioTooLong."""
    argv = (sys.executable, "-E", str(_STUDIO), "decode", str(rate), str(limits.longest_s))
    environ = {name: os.environ[name] for name in _ENVIRON if name in os.environ}
    with _file_of(sound) as file:
        program = Printing(Command(argv, environ), file)
    try:
        yield _pieces(program, limits)
    finally:
        await asyncio.shield(asyncio.to_thread(program.end))


async def _pieces(program: Printing, limits: TranscriptionLimits) -> AsyncIterator[bytes]:
    odd = b""
    while piece := await asyncio.to_thread(program.read, limits.piece_bytes):
        whole = odd + piece
        cut = len(whole) - len(whole) % SAMPLE_BYTES
        odd = whole[cut:]
        yield whole[:cut]
    code = await asyncio.to_thread(program.exit_code)
    if code == _TOO_LONG:
        raise _too_long(limits)
    if code:
        raise UnknownFormat("the sound is damaged and cannot be decoded: save it anew", field="file")


def _file_of(sound: bytes) -> BinaryIO:
    """At its beginning; in memory where the system can, else without a name."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("sound")
    else:
        number, path = tempfile.mkstemp()
        os.unlink(path)
    file = os.fdopen(number, "w+b")
    file.write(sound)
    file.seek(0)
    return file


def _is_unknown(frames: int) -> bool:
    """What the head of a wav says that was written while it was recorded."""
    return frames >= 2**31 - 2**16


def _too_long(limits: TranscriptionLimits) -> AudioTooLong:
    return AudioTooLong(f"at most {limits.longest_s / 60:g} minutes of sound at once; cut it", field="file")
