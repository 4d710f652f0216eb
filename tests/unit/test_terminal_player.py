from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.terminal.player import NoAudio, PcmQueue, Player, load_audio


class PortAudioError(Exception):
    pass


class Stream:
    """What PortAudio's stream does, with its thread played by the test."""

    def __init__(self, callback: Callable[..., None], rate: int) -> None:
        self.callback = callback
        self.rate = rate
        self.active = False
        self.calls: list[str] = []

    def start(self) -> None:
        self.active = True

    def stop(self) -> None:
        self.active = False
        self.calls.append("stop")

    def abort(self) -> None:
        self.active = False
        self.calls.append("abort")

    def close(self) -> None:
        self.calls.append("close")

    def play(self, frames: int) -> bytes:
        out = bytearray(frames * 2)
        self.callback(out, frames, None, None)
        return bytes(out)


class Audio:
    """The part of the sounddevice module that a player uses, on a machine with one device or none."""

    PortAudioError = PortAudioError

    def __init__(self, *, has_device: bool = True) -> None:
        self.has_device = has_device
        self.streams: list[Stream] = []

    def query_devices(self, kind: str) -> None:
        if not self.has_device:
            raise PortAudioError("Error querying device -1")

    def RawOutputStream(self, *, samplerate: int, channels: int, dtype: str, callback: Any) -> Stream:
        if not self.has_device:
            raise PortAudioError("Device unavailable")
        assert (channels, dtype) == (1, "int16")
        self.streams.append(Stream(callback, samplerate))
        return self.streams[-1]


@given(st.lists(st.binary(max_size=20)), st.lists(st.integers(0, 16)))
def test_what_is_pulled_is_what_was_pushed_and_then_silence(pushed: list[bytes], sizes: list[int]) -> None:
    queue, pcm = PcmQueue(), b"".join(pushed)
    for part in pushed:
        queue.push(part)
    pulled = b"".join(queue.pull(size)[0] for size in sizes)
    assert pulled == pcm[: sum(sizes)].ljust(sum(sizes), b"\0")


def test_the_queue_says_when_it_is_empty() -> None:
    queue = PcmQueue()
    queue.push(b"abcd")
    assert [queue.pull(2)[1], queue.pull(2)[1]] == [False, True]


def test_the_device_is_opened_at_the_announced_rate() -> None:
    audio = Audio()

    async def play() -> None:
        Player(audio).write(b"\0\0", 16000)

    asyncio.run(play())
    assert audio.streams[0].rate == 16000


def test_finish_returns_when_everything_was_heard() -> None:
    async def play() -> tuple[bytes, list[str]]:
        audio = Audio()
        player = Player(audio)
        player.write(b"abcdef", 24000)
        finished = asyncio.create_task(player.finish())
        heard = audio.streams[0].play(2)
        await asyncio.sleep(0)
        assert not finished.done()
        heard += audio.streams[0].play(2)
        await asyncio.wait_for(finished, 5)
        return heard, audio.streams[0].calls

    assert asyncio.run(play()) == (b"abcdef\0\0", ["stop"])


def test_stop_silences_at_once() -> None:
    async def play() -> tuple[bytes, list[str]]:
        audio = Audio()
        player = Player(audio)
        player.write(b"abcdef", 24000)
        player.stop()
        await asyncio.wait_for(player.finish(), 5)
        return audio.streams[0].play(3), audio.streams[0].calls

    assert asyncio.run(play()) == (bytes(6), ["abort"])


def test_without_audio_no_device_is_opened() -> None:
    async def play() -> list[Stream]:
        audio = Audio()
        player = Player(audio)
        player.stop()
        await asyncio.wait_for(player.finish(), 5)
        player.close()
        return audio.streams

    assert asyncio.run(play()) == []


def test_a_device_that_refuses_is_one_line() -> None:
    async def play() -> None:
        Player(Audio(has_device=False)).write(b"ab", 24000)

    with pytest.raises(NoAudio, match=r"^cannot play at 24000 Hz: Device unavailable; use --output FILE$"):
        asyncio.run(play())


def test_a_machine_without_a_device_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Audio(has_device=False))
    with pytest.raises(NoAudio, match=r"^cannot play: this machine has no audio device; use --output FILE$"):
        load_audio()


def test_a_machine_without_sounddevice_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(NoAudio, match=r"^cannot play: run `pip install .*use --output FILE$"):
        load_audio()


def test_a_machine_without_portaudio_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutLibrary:
        @staticmethod
        def find_spec(name: str, path: object = None, target: ModuleType | None = None) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [WithoutLibrary, *sys.meta_path])
    with pytest.raises(NoAudio, match=r"^cannot play: install PortAudio .*use --output FILE$"):
        load_audio()
