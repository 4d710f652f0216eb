from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voice_server.terminal.wav import CannotWrite, WavFile, check_writable

PCM = np.arange(-12000, 12000, dtype="<i2").tobytes()


def written(path: Path, *chunks: bytes, sample_rate: int = 24000) -> WavFile:
    wav = WavFile(path)
    for chunk in chunks:
        wav.write(chunk, sample_rate)
    asyncio.run(wav.finish())
    return wav


def test_a_wav_holds_exactly_the_samples_at_the_announced_rate(tmp_path: Path) -> None:
    written(tmp_path / "a.wav", PCM[:1000], PCM[1000:], sample_rate=16000)
    samples, rate = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert rate == 16000
    assert samples.tobytes() == PCM


def test_a_pcm_file_holds_the_bare_samples(tmp_path: Path) -> None:
    written(tmp_path / "a.pcm", PCM[:1000], PCM[1000:])
    assert (tmp_path / "a.pcm").read_bytes() == PCM


def test_the_line_about_it_names_file_length_and_rate(tmp_path: Path) -> None:
    assert written(tmp_path / "a.flac", PCM).wrote == f"wrote {tmp_path / 'a.flac'} (1.0 s, 24000 Hz)"


def test_no_audio_leaves_no_file_and_no_line(tmp_path: Path) -> None:
    assert written(tmp_path / "a.wav").wrote == ""
    assert list(tmp_path.iterdir()) == []


def test_half_a_sample_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"cannot write .*a\.wav"):
        written(tmp_path / "a.wav", b"\0\0\0")


def test_a_folder_that_is_not_there_is_noticed_before_the_speech(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="there is no folder"):
        check_writable(tmp_path / "missing" / "a.wav")


def test_an_unknown_kind_of_file_is_noticed_before_the_speech(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"end it in \.wav"):
        check_writable(tmp_path / "a.docx")


@pytest.mark.parametrize("name", ["a.wav", "a.FLAC", "a.ogg", "a.mp3", "a.pcm", "a.raw"])
def test_the_usual_kinds_of_file_can_be_written(tmp_path: Path, name: str) -> None:
    check_writable(tmp_path / name)
    written(tmp_path / name, PCM)
    assert (tmp_path / name).stat().st_size > 0
