"""`python -m voice_server transcribe` as a person runs it; `pitch` writes down how high beeps are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.e2e.programs import environ
from tests.harness import TIMEOUT_S
from tests.process.hearing_driver import RATE, beeps, words

pytestmark = pytest.mark.usefixtures("tone_python")

TUNE = (440, 880)
SRT = f"""1
00:00:00,000 --> 00:00:00,200
{words(440)}

2
00:00:00,500 --> 00:00:00,700
{words(880)}

"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tune.flac", np.frombuffer(beeps(*TUNE), np.int16), RATE)
    (tmp_path / "noise.wav").write_bytes(b"this is no sound")
    return tmp_path


def transcribe(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "voice_server", "transcribe", "--backend", "pitch", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environ(folder), capture_output=True, text=True, timeout=3 * TIMEOUT_S
    )


def test_a_file_is_written_down(folder: Path) -> None:
    ended = transcribe(folder, "tune.flac")
    assert (ended.returncode, ended.stdout) == (0, f"{words(*TUNE)}\n")


def test_subtitles_have_the_times_of_the_sounds(folder: Path) -> None:
    assert transcribe(folder, "tune.flac", "--format", "srt").stdout == SRT


def test_json_has_the_segments(folder: Path) -> None:
    told = json.loads(transcribe(folder, "tune.flac", "--format", "json").stdout)
    assert (told["text"], told["language"], len(told["segments"])) == (words(*TUNE), "en", 2)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nothing.wav",), "cannot read nothing.wav: No such file or directory"),
        (("noise.wav",), "it is no sound that can be read"),
        (("tune.flac", "--backend", "tone"), "of kind tts, not stt"),
        (("tune.flac", "--opt", "volume=3"), "volume"),
        (("tune.flac", "--opt", "=3"), "an option is written key=value"),
    ],
)
def test_what_cannot_be_heard_is_a_line_and_no_traceback(folder: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = transcribe(folder, *arguments)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert told in ended.stderr
    assert "Traceback" not in ended.stderr
