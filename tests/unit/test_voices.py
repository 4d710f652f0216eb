"""The folder of voice samples: what becomes a voice, what is left out and why, and how changes are seen."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voice_server.core.limits import VoiceLimits
from voice_server.voices import VoiceStore

SECOND = np.zeros(24_000, dtype=np.int16)


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore(tmp_path, VoiceLimits())


def _write(path: Path, seconds: float = 2.0, rate: int = 24_000, channels: int = 1) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\1\0" * int(seconds * rate) * channels)


def test_a_dropped_wav_is_a_voice(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "ada.wav")
    store.scan()
    assert list(store.samples) == ["ada"]
    assert store.samples["ada"].duration_s == 2.0
    assert store.samples["ada"].transcript == ""


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_other_formats_are_voices_too(store: VoiceStore, tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"ada.{suffix}", np.tile(SECOND, 2), 24_000)
    store.scan()
    assert list(store.samples) == ["ada"]


def test_a_text_beside_it_is_its_transcript_and_changes_its_key(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "ada.wav")
    store.scan()
    before = store.samples["ada"].key
    (tmp_path / "ada.txt").write_text("Hello\n there. ")
    store.scan()
    assert store.samples["ada"].transcript == "Hello there."
    assert store.samples["ada"].key != before


def test_a_removed_file_is_no_voice_any_more(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "ada.wav")
    store.scan()
    (tmp_path / "ada.wav").unlink()
    store.scan()
    assert store.samples == {}


def test_another_sample_under_the_same_name_is_another_key(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "ada.wav")
    store.scan()
    before = store.samples["ada"].key
    _write(tmp_path / "ada.wav", seconds=3.0)
    store.scan()
    assert store.samples["ada"].key != before


def test_a_file_that_was_mended_becomes_a_voice(store: VoiceStore, tmp_path: Path) -> None:
    (tmp_path / "ada.wav").write_text("not a sound")
    store.scan()
    assert "ada.wav" in store.problems
    _write(tmp_path / "ada.wav")
    store.scan()
    assert list(store.samples) == ["ada"]
    assert store.problems == {}


def test_two_files_of_one_name_are_one_voice_and_a_problem(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "ada.wav")
    soundfile.write(tmp_path / "ada.flac", np.tile(SECOND, 2), 24_000)
    store.scan()
    assert store.samples["ada"].path.name == "ada.flac"
    assert "another file" in store.problems["ada.wav"]


@pytest.mark.parametrize(
    ("seconds", "rate", "channels", "reason"),
    [
        (0.5, 24_000, 1, "it lasts 0.5 s"),
        (31.0, 8_000, 1, "it lasts 31.0 s"),
        (2.0, 4_000, 1, "its rate is 4000 Hz"),
        (2.0, 24_000, 3, "it has 3 channels"),
    ],
)
def test_a_sample_outside_the_limits_is_left_out(
    store: VoiceStore, tmp_path: Path, seconds: float, rate: int, channels: int, reason: str
) -> None:
    _write(tmp_path / "ada.wav", seconds, rate, channels)
    store.scan()
    assert store.samples == {}
    assert store.problems["ada.wav"].startswith(reason)


def test_only_plain_files_are_read(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "real.wav")
    (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    store.scan()
    assert list(store.samples) == ["real"]
    assert set(store.problems) == {"link.wav", "dangling.wav", "folder.wav", "pipe.wav"}


def test_a_header_that_lies_about_its_size_is_judged_by_what_is_there(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "ada.wav")
    content = bytearray((tmp_path / "ada.wav").read_bytes())
    content[40:44] = struct.pack("<I", 0x7FFFFFFF)
    (tmp_path / "ada.wav").write_bytes(content)
    store.scan()
    assert store.samples["ada"].duration_s == pytest.approx(2.0, abs=0.01)


def test_a_bomb_is_refused_by_its_header(store: VoiceStore, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "bomb.flac", np.zeros(8_000 * 3_600, dtype=np.int16), 8_000)
    store.scan()
    assert store.problems["bomb.flac"].startswith("it lasts 3600.0 s")


def test_a_name_that_no_voice_can_have_is_left_out(store: VoiceStore, tmp_path: Path) -> None:
    _write(tmp_path / "-rf.wav")
    store.scan()
    assert "-rf.wav" in store.problems


def test_a_missing_folder_is_an_empty_one(tmp_path: Path) -> None:
    store = VoiceStore(tmp_path / "nowhere", VoiceLimits())
    store.scan()
    assert store.samples == {}
