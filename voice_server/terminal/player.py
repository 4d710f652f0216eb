"""Plays an answer through PortAudio, if this machine has it.

`load_audio` says in one line what is missing. The queue between the event loop and PortAudio's own thread is pure.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from typing import Any

from voice_server.core.errors import VoiceError
from voice_server.terminal.answer import SAMPLE_BYTES


class NoAudio(VoiceError):
    """Nothing can be played here."""

    code = "no_audio"


def load_audio() -> Any:
    """The sounddevice module, once it is known to have a device to play on. Raises NoAudio."""
    try:
        audio = importlib.import_module("sounddevice")
    except ImportError as error:
        raise NoAudio("cannot play: run `pip install sounddevice`, or use --output FILE") from error
    except OSError as error:
        raise NoAudio("cannot play: install PortAudio (`apt install libportaudio2`), or use --output FILE") from error
    try:
        audio.query_devices(kind="output")
    except (audio.PortAudioError, ValueError) as error:
        raise NoAudio("cannot play: this machine has no audio device; use --output FILE") from error
    return audio


class PcmQueue:
    """Bytes in at any size, bytes out at the size a device asks for, with silence where there are none."""

    def __init__(self) -> None:
        self._pcm = bytearray()
        self._lock = threading.Lock()

    def push(self, pcm: bytes) -> None:
        with self._lock:
            self._pcm += pcm

    def pull(self, size: int) -> tuple[bytes, bool]:
        """`size` bytes, and whether the queue is empty now."""
        with self._lock:
            pcm = bytes(self._pcm[:size])
            del self._pcm[:size]
            return pcm.ljust(size, b"\0"), not self._pcm

    def clear(self) -> None:
        with self._lock:
            self._pcm.clear()


class Player:
    """A sink that plays one answer. `audio` is what `load_audio` gave. Raises NoAudio when the device is lost."""

    def __init__(self, audio: Any) -> None:
        self._audio = audio
        self._queue = PcmQueue()
        self._dry = asyncio.Event()
        self._dry.set()
        self._loop = asyncio.get_running_loop()
        self._stream: Any = None

    def write(self, pcm: bytes, sample_rate: int) -> None:
        self._queue.push(pcm)
        self._dry.clear()
        if self._stream is None:
            self._stream = self._start(sample_rate)

    def stop(self) -> None:
        """Silence now."""
        self._queue.clear()
        self._dry.set()
        if self._stream is not None:
            self._stream.abort()

    async def finish(self) -> None:
        """Returns when everything has been heard."""
        await self._dry.wait()
        if self._stream is not None and self._stream.active:
            await asyncio.to_thread(self._stream.stop)  # waits for the device's own buffers

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _start(self, sample_rate: int) -> Any:
        try:
            stream = self._audio.RawOutputStream(samplerate=sample_rate, channels=1, dtype="int16", callback=self._fill)
            stream.start()
        except self._audio.PortAudioError as error:
            raise NoAudio(f"cannot play at {sample_rate} Hz: {error}; use --output FILE") from error
        return stream

    def _fill(self, out: Any, frames: int, _time: Any, _status: Any) -> None:
        pcm, empty = self._queue.pull(frames * SAMPLE_BYTES)
        out[:] = pcm
        if empty:
            self._loop.call_soon_threadsafe(self._dry.set)
