"""ffmpeg reads every format of `/v1/audio/speech`, without a complaint and to the last word."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compat.audio import Sound, assert_lasts, assert_says, from_pcm
from tests.compat.conftest import CompatServer
from tests.compat.report import Report

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg on this machine: apt-get install ffmpeg")

TEXT = "The harbour was quiet in the early morning. Three boats had left before the sun came up over the water."
RATE = 24_000
CODECS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "pcm_s16le", "pcm": "pcm_s16le"}
_HOW_TO_READ = {"pcm": ["-f", "s16le", "-ar", str(RATE), "-ac", "1"]}  # the format that says nothing of itself


@pytest.fixture(scope="module")
def ffmpeg_version() -> str:
    told = subprocess.run(["ffmpeg", "-version"], capture_output=True, text=True, check=True).stdout
    return told.split()[2].split("-")[0]


def speech(server: CompatServer, format: str, **more: Any) -> bytes:
    body = {"model": "hibari", "voice": "alloy", "input": TEXT, "response_format": format, **more}
    headers = {"authorization": f"Bearer {server.token}"}
    answer = httpx.post(f"{server.http}/v1/audio/speech", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def run(program: str, *arguments: str) -> bytes:
    """Its output. It may complain about nothing."""
    ended = subprocess.run([program, "-v", "error", *arguments], capture_output=True, check=True)
    assert ended.stderr == b""
    return ended.stdout


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("format", CODECS)
def test_ffmpeg_reads_it_to_the_end(
    server: CompatServer,
    report: Report,
    hear: Callable[[Sound], str],
    ffmpeg_version: str,
    tmp_path: Path,
    format: str,
    stream: bool,
) -> None:
    file, how = tmp_path / "speech", _HOW_TO_READ.get(format, [])
    with report("ffmpeg", ffmpeg_version, f"reads {format}, {'streamed' if stream else 'whole'}"):
        file.write_bytes(speech(server, format, stream=stream))
        told = run("ffprobe", *how, "-show_entries", "stream=codec_name,channels", "-of", "csv=p=0", str(file))
        assert told.decode().split() == [f"{CODECS[format]},1"]
        decoded = run("ffmpeg", *how, "-i", str(file), "-f", "s16le", "-ar", str(RATE), "-ac", "1", "-")
        sound = from_pcm(decoded, RATE)
        assert_lasts(sound, from_pcm(speech(server, "pcm"), RATE).seconds, format)
        assert_says(hear(sound), TEXT)


def test_a_streamed_wav_says_that_its_size_is_unknown(server: CompatServer) -> None:
    assert speech(server, "wav")[4:8] == speech(server, "wav")[40:44] == b"\xff\xff\xff\xff"


def test_a_whole_wav_says_its_size(server: CompatServer) -> None:
    wav = speech(server, "wav", stream=False)
    assert int.from_bytes(wav[4:8], "little") == len(wav) - 8
    assert int.from_bytes(wav[40:44], "little") == len(wav) - 44
