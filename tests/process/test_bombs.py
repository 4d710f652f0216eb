"""F3, F4: files that are much larger than they look, or not what they say, on their way to become text.

Those that become voices are in test_studio.py. Here they go through the real decoder, a process of its own, and through
a real gateway, whose memory is looked at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from tests.harness import TIMEOUT_S, hum, hum_wav
from tests.process.test_studio import RATE, encoded, flac_that_says, floats, with_bytes
from tests.server_process import ServerProcess, server_process
from voice_server.core.doors.limits import TranscriptionLimits
from voice_server.core.errors import AudioTooLong, UnknownFormat, VoiceError
from voice_server.pool.decoding import check_header, decoded

pytestmark = pytest.mark.anyio

LIMITS = TranscriptionLimits()
HOUR = np.zeros(RATE * 3_600, dtype=np.int16)
WAV = hum_wav()
MIB = 2**20


def bomb() -> bytes:
    """An hour of silence: 165 MiB of samples in a few hundred KiB."""
    return encoded(HOUR, "FLAC")


async def heard(sound: bytes, limits: TranscriptionLimits = LIMITS) -> np.ndarray:
    check_header(sound, limits)
    async with decoded(sound, RATE, limits) as pieces:
        return np.frombuffer(b"".join([piece async for piece in pieces]), "<i2")


# name, content, the kind of its refusal and what is said
REFUSED: list[tuple[str, Callable[[], bytes], type[VoiceError], str]] = [
    ("no bytes", lambda: b"", UnknownFormat, "no sound that can be read"),
    ("a text", lambda: b"Dear Sir or Madam,\n" * 100, UnknownFormat, "no sound that can be read"),
    ("a zip", lambda: b"PK\3\4" + bytes(1000), UnknownFormat, "no sound that can be read"),
    ("65535 channels", lambda: with_bytes(WAV, 22, b"\xff\xff"), UnknownFormat, "no sound that can be read"),
    ("nine channels", lambda: encoded(np.stack([hum()] * 9, axis=1)), UnknownFormat, "at most 8 channels"),
    ("a rate of nothing", lambda: with_bytes(WAV, 24, bytes(4)), UnknownFormat, "no sound that can be read"),
    ("a rate of one", lambda: with_bytes(WAV, 24, struct.pack("<I", 1)), UnknownFormat, "8000 to 192000 Hz"),
    ("a rate of 2^32-1", lambda: with_bytes(WAV, 24, b"\xff" * 4), UnknownFormat, "no sound that can be read"),
    ("a head alone", lambda: WAV[:44], UnknownFormat, "damaged"),
    ("a flac without its end", lambda: encoded(hum(), "FLAC")[:60], UnknownFormat, "no sound that can be read"),
    (
        "too long",
        lambda: encoded(np.zeros(8_000 * 3_601, np.int16), "FLAC", rate=8_000),
        AudioTooLong,
        "at most 60 minutes",
    ),
]


@pytest.mark.parametrize(("name", "content", "kind", "told"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_f4_what_is_no_sound_is_told_what_is_wrong(
    name: str, content: Callable[[], bytes], kind: type[VoiceError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        await heard(content())


@pytest.mark.parametrize(
    ("content", "seconds"),
    [
        (lambda: encoded(hum(), "MP3"), 2.0),  # whatever its name is
        (lambda: with_bytes(WAV, 40, b"\xff" * 4), 2.0),
        (lambda: WAV[: 44 + RATE * 2], 1.0),
        (lambda: with_bytes(WAV, 40, struct.pack("<I", RATE)), 0.5),
        (lambda: flac_that_says(0, hum()), 2.0),
    ],
    ids=["mp3", "a wav without an end", "a wav that was cut off", "a wav that says less", "a flac that was streamed"],
)
async def test_f4_what_a_head_says_wrongly_costs_no_sound(content: Callable[[], bytes], seconds: float) -> None:
    assert len(await heard(content())) / RATE == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf, 3e38, -3e38], ids=str)
async def test_f4_what_is_no_number_spoils_no_neighbours(spoiled: float) -> None:
    clean = await heard(encoded(floats(), subtype="FLOAT", rate=16_000))
    dirty = await heard(encoded(floats(spoiled), subtype="FLOAT", rate=16_000))
    assert len(dirty) == len(clean)
    assert np.abs(dirty[1_000:].astype(int) - clean[1_000:]).max() <= 1


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, -np.inf], ids=str)
async def test_f4_what_is_no_number_is_silence_not_a_click(spoiled: float) -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    silence[10_000:10_010] = spoiled
    assert not (await heard(encoded(silence, subtype="FLOAT"))).any()


async def test_f3_a_bomb_is_refused_by_its_head_before_a_process_is_started() -> None:
    children = psutil.Process().children()
    with pytest.raises(AudioTooLong):
        await heard(bomb(), replace(LIMITS, longest_s=60.0))
    assert psutil.Process().children() == children


async def test_f3_a_bomb_that_lies_is_decoded_no_further_than_a_recording_may_last() -> None:
    limits, total = replace(LIMITS, longest_s=60.0), 0
    liar = flac_that_says(0, HOUR)
    check_header(liar, limits)
    with pytest.raises(AudioTooLong):
        async with decoded(liar, RATE, limits) as pieces:
            async for piece in pieces:
                total += len(piece)
    assert total <= 60 * RATE * 2


# A real gateway


@pytest.fixture(scope="module")
def server(tone_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("bombs")
    with server_process(folder, "--backend", "pitch") as server:
        server.wait_ready()
        yield server


def most_memory(server: ServerProcess) -> int:
    """Bytes of the gateway, and at once forgotten."""
    told = Path(f"/proc/{server.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")
    return int(told) * 1024


def transcribed(server: ServerProcess, sound: bytes) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}/v1/audio/transcriptions"
    return httpx.post(url, data={"model": "pitch"}, files={"file": ("a.wav", sound)}, timeout=3 * TIMEOUT_S)


def uploaded(server: ServerProcess, sound: bytes) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}/v1/audio/voices"
    return httpx.post(url, data={"name": "ada"}, files={"audio_sample": ("a.flac", sound)}, timeout=3 * TIMEOUT_S)


BOMBS: dict[str, Callable[[], bytes]] = {
    "two hours that say so": lambda: encoded(np.zeros(8_000 * 7_200, np.int16), "FLAC", rate=8_000),
    "two hours that say five seconds": lambda: flac_that_says(40_000, np.zeros(8_000 * 7_200, np.int16)),
    "ten minutes that say nothing": lambda: flac_that_says(0, np.zeros(48_000 * 600, np.int16), 48_000),
    "eight channels of nothing": lambda: encoded(np.zeros((48_000 * 300, 8), np.int16), "FLAC", rate=48_000),
    "a chunk of four gigabytes": lambda: WAV[:12] + b"LIST" + b"\xff" * 4 + WAV[12:],
    "channels without number": lambda: with_bytes(WAV, 22, b"\xff\xff"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_f3_no_bomb_is_felt_in_the_memory_of_the_gateway(server: ServerProcess, name: str) -> None:
    sound = BOMBS[name]()
    assert transcribed(server, WAV).status_code == 200  # what is loaded once is loaded
    assert uploaded(server, b"no sound").status_code == 400
    most_memory(server)
    before = most_memory(server)
    assert uploaded(server, sound).status_code in (400, 413)
    assert transcribed(server, sound).status_code in (200, 400, 413)
    grown = most_memory(server) - before
    assert grown < 4 * len(sound) + 24 * MIB
    assert transcribed(server, WAV).status_code == 200
