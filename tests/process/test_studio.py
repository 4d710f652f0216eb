"""Good and bad recordings through the real studio: each has its answer, whether it is dropped or added."""

from __future__ import annotations

import io
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from numpy.typing import NDArray

from tests.harness import hum, hum_wav, voice_store, wait_until
from voice_server.core.errors import BadSample
from voice_server.core.limits import VoiceLimits
from voice_server.pool.process import Command, run_once
from voice_server.voices import VoiceStore

GOOD = ""
RATE = 24_000
SILENCE = np.zeros(2 * RATE, dtype=np.int16)


def encoded(sound: NDArray[Any], format: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=format, subtype=subtype)
    return file.getvalue()


def with_bytes(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def flac_that_says(frames: int, sound: NDArray[Any], rate: int = RATE) -> bytes:
    """The total of a FLAC file is the last 36 bits of these eight bytes."""
    content = encoded(sound, "FLAC", rate=rate)
    told = int.from_bytes(content[18:26], "big") >> 36 << 36 | frames
    return with_bytes(content, 18, told.to_bytes(8, "big"))


def zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.wav", bytes(10**7))
    return file.getvalue()


def floats(*spoiled: float) -> NDArray[np.float32]:
    sound = hum().astype(np.float32) / 2**15
    sound[100 : 100 + len(spoiled)] = spoiled
    return sound


WAV, STEREO = hum_wav(), np.stack([hum(), hum()], axis=1)
TRUNCATED_MP3, TRUNCATED_FLAC = encoded(hum(5.0), "MP3"), encoded(hum(5.0), "FLAC")

# name, suffix, content, what the answer holds
SAMPLES: list[tuple[str, str, Callable[[], bytes], str]] = [
    ("wav of 8 bits", ".wav", lambda: encoded(hum(), subtype="PCM_U8"), GOOD),
    ("wav of 16 bits", ".wav", lambda: WAV, GOOD),
    ("wav of 24 bits", ".wav", lambda: encoded(hum(), subtype="PCM_24"), GOOD),
    ("wav of 32 bits", ".wav", lambda: encoded(hum(), subtype="PCM_32"), GOOD),
    ("wav of floats", ".wav", lambda: encoded(floats(), subtype="FLOAT"), GOOD),
    ("mp3", ".mp3", lambda: encoded(hum(), "MP3"), GOOD),
    ("flac", ".flac", lambda: encoded(hum(), "FLAC"), GOOD),
    ("vorbis in ogg", ".ogg", lambda: encoded(hum(), "OGG", "VORBIS"), GOOD),
    ("opus in ogg", ".opus", lambda: encoded(hum(), "OGG", "OPUS"), GOOD),
    ("mp3 that is called wav", ".wav", lambda: encoded(hum(), "MP3"), GOOD),
    ("telephone", ".wav", lambda: hum_wav(rate=8_000), GOOD),
    ("studio", ".wav", lambda: hum_wav(rate=96_000), GOOD),
    ("below a telephone", ".wav", lambda: hum_wav(rate=4_000), "its rate is 4000 Hz, not 8000 to 96000"),
    ("above a studio", ".wav", lambda: hum_wav(rate=192_000), "its rate is 192000 Hz"),
    ("stereo", ".wav", lambda: encoded(STEREO), GOOD),
    ("stereo that cancels out", ".wav", lambda: encoded(STEREO * np.array([1, -1], dtype=np.int16)), GOOD),
    ("three channels", ".wav", lambda: encoded(np.stack([hum()] * 3, axis=1)), "it has 3 channels, not 1 or 2"),
    ("65535 channels", ".wav", lambda: with_bytes(WAV, 22, b"\xff\xff"), "not a sound that can be read"),
    ("rate of nothing", ".wav", lambda: with_bytes(WAV, 24, bytes(4)), "not a sound that can be read"),
    ("rate of four thousand million", ".wav", lambda: with_bytes(WAV, 24, b"\xff" * 4), "not a sound that can be read"),
    ("rate of one", ".wav", lambda: with_bytes(WAV, 24, struct.pack("<I", 1)), "its rate is 1 Hz"),
    ("just long enough", ".wav", lambda: hum_wav(1.0), GOOD),
    ("too short", ".wav", lambda: hum_wav(0.99), "it lasts 0.99 s: speak for 1 s at least"),
    ("just short enough", ".wav", lambda: hum_wav(30.0), GOOD),
    ("too long", ".wav", lambda: hum_wav(30.1), "it lasts 30.10 s: cut it to 30 s at most"),
    ("silence around", ".wav", lambda: encoded(np.concatenate([SILENCE, hum(), SILENCE])), GOOD),
    ("a word in silence", ".wav", lambda: encoded(np.concatenate([SILENCE, hum(0.5), SILENCE])), "0.7 s are left"),
    ("silence only", ".wav", lambda: encoded(SILENCE), "it is silent"),
    ("direct current", ".wav", lambda: encoded(SILENCE + np.int16(9_000)), "it is silent"),
    ("overdriven", ".wav", lambda: encoded(np.clip(floats() * 9, -1, 1)), "it is overdriven"),
    ("not a number", ".wav", lambda: encoded(floats(np.nan), subtype="FLOAT"), "samples that are no numbers"),
    ("infinity", ".wav", lambda: encoded(floats(np.inf, -np.inf), subtype="FLOAT"), "samples that are no numbers"),
    ("absurd", ".wav", lambda: encoded(floats(3e38, -3e38), subtype="FLOAT"), "samples that are no numbers"),
    ("wav that says it is endless", ".wav", lambda: with_bytes(WAV, 40, b"\xff\xff\xff\xff"), GOOD),
    ("wav that was cut off", ".wav", lambda: hum_wav(5.0)[:120_000], GOOD),
    ("wav that says less", ".wav", lambda: with_bytes(WAV, 40, struct.pack("<I", 9_600)), "it lasts 0.20 s"),
    ("mp3 that was cut off", ".mp3", lambda: TRUNCATED_MP3[:3_000], "its header says 5.0 s, but it holds"),
    ("flac that was cut off", ".flac", lambda: TRUNCATED_FLAC[: len(TRUNCATED_FLAC) // 2], "it is damaged"),
    ("flac that says more", ".flac", lambda: flac_that_says(20 * RATE, hum()), "it is damaged"),
    ("flac that says nothing", ".flac", lambda: flac_that_says(0, hum()), "does not say how long it is"),
    ("flac bomb", ".flac", lambda: encoded(np.zeros(RATE * 3_600, dtype=np.int16), "FLAC"), "it lasts 3600.00 s"),
    ("flac bomb that lies", ".flac", lambda: flac_that_says(5 * RATE, np.tile(SILENCE, 900)), "it is silent"),
    ("zip bomb", ".wav", zip_bomb, "not a sound that can be read"),
    ("web page", ".wav", lambda: b"<!doctype html><title>404</title>", "not a sound that can be read"),
    ("header alone", ".wav", lambda: WAV[:44], "it lasts 0.00 s"),
    ("no bytes", ".wav", lambda: b"", "the file is empty"),
    ("too large", ".wav", lambda: bytes(VoiceLimits().sample_bytes + 1), "larger than 20 MiB"),
]


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return voice_store(tmp_path)


@pytest.mark.parametrize(("name", "suffix", "content", "answer"), SAMPLES, ids=[sample[0] for sample in SAMPLES])
def test_f3_f4_a_recording_has_one_answer_however_it_comes(
    tmp_path: Path, name: str, suffix: str, content: Callable[[], bytes], answer: str
) -> None:
    dropped, added, sound = voice_store(tmp_path / "dropped"), voice_store(tmp_path / "added"), content()
    (tmp_path / "dropped").mkdir()
    (tmp_path / "dropped" / f"ada{suffix}").write_bytes(sound)
    dropped.scan()
    if answer == GOOD:
        sample = added.add("ada", sound, suffix)
        assert dropped.samples["ada"].key == sample.key
        assert dropped.samples["ada"].path.read_bytes() == sample.path.read_bytes()
        assert sample.original.read_bytes() == sound
    else:
        with pytest.raises(BadSample) as refusal:
            added.add("ada", sound, suffix)
        assert answer in refusal.value.message
        assert dropped.problems == {f"ada{suffix}": refusal.value.message}
        assert list((tmp_path / "added").rglob("*.*")) == []


def test_a_clean_copy_is_48_khz_mono_for_its_owner_only(store: VoiceStore) -> None:
    path = store.add("ada", encoded(STEREO, "OGG"), ".ogg").path
    header = soundfile.info(path)
    assert (header.samplerate, header.channels, header.subtype) == (48_000, 1, "PCM_16")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_another_start_uses_the_copies_that_are_there(store: VoiceStore, tmp_path: Path) -> None:
    made = store.add("ada", WAV, ".wav").path.stat().st_mtime_ns
    again = voice_store(tmp_path)
    again.scan()
    assert again.samples["ada"].path.stat().st_mtime_ns == made


def test_a_studio_that_hangs_is_a_refusal_and_is_ended(tmp_path: Path) -> None:
    hangs = Command((sys.executable, "-c", "import time; time.sleep(600)", str(tmp_path)))
    store = VoiceStore(tmp_path, VoiceLimits(), lambda *_: run_once(hangs, 0.2, 100), tmp_path / "home")
    with pytest.raises(BadSample, match="could not be decoded"):
        store.add("ada", WAV, ".wav")
    assert not any(str(tmp_path) in " ".join(child.cmdline()) for child in psutil.Process().children())


def test_what_a_program_prints_is_known_when_it_has_ended() -> None:
    assert run_once(Command((sys.executable, "-c", "print('done')")), 20.0, 100) == b"done\n"


@pytest.mark.parametrize(
    "code", ["raise SystemExit(1)", "import os; os.abort()", "print('x' * 101)", "while True: print('x' * 4096)"]
)
def test_a_program_that_fails_or_says_too_much_has_said_nothing(code: str) -> None:
    assert run_once(Command((sys.executable, "-c", f"print('x', flush=True); {code}")), 20.0, 100) == b""


def test_what_a_program_started_ends_with_it(tmp_path: Path) -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    began = time.monotonic()
    pid = int(run_once(Command((sys.executable, "-c", code)), 1.0, 100) or 0)
    assert time.monotonic() - began < 10.0
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", "the child is gone")


def test_f3_the_studio_cannot_take_more_memory_than_a_recording_needs(tmp_path: Path) -> None:
    studio = Path(sys.modules["voice_server"].__path__[0]) / "studio" / "__main__.py"
    code = (
        f"import runpy; limit = runpy.run_path({str(studio)!r})['limit_myself']; limit()\n"
        "try: bytes(2 << 30)\nexcept MemoryError: print('refused')"
    )
    assert run_once(Command((sys.executable, "-c", code)), 20.0, 100) == b"refused\n"
