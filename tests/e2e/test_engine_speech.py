"""Kokoro and Piper on the whole way: tokens over a socket → engine → PCM → a speech recogniser reads the same words.

English is read by whisper tiny.en, Japanese by base, since tiny.en knows no other language.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.test_speech import RECOGNISER, error_rate, word_error_rate
from tests.harness import FAST, FAST_WORKER, ask, running_server
from voice_server.config import load_config
from voice_server.core.audio.pcm import wav_header
from voice_server.venvs import VenvStore

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

ENGLISH = "The weather in London is cold and wet today."
LONG = "When the rain had stopped, we walked to the river, and the children played with the dog."  # rendered in pieces
JAPANESE = "明日は雨が降ります。駅の前で会いましょう。"
WORD_ERRORS, CHARACTER_ERRORS = 0.2, 0.3  # per word, per character
PATIENCE_S = 60.0


@asynccontextmanager
async def speaking(backend: str, python: Path) -> AsyncIterator[Callable[..., Awaitable[bytes]]]:
    """What gives the audio of a text, in a running server."""
    limits = replace(FAST_WORKER, load_s=PATIENCE_S, first_chunk_s=PATIENCE_S, chunk_gap_s=PATIENCE_S)
    config = replace(load_config(None).backends[backend], limits=limits, warmup_text="")
    async with running_server(config, python, limits=FAST) as server:

        async def speak(text: str, **start: str) -> bytes:
            tokens = [{"token": token} for token in re.findall(r"\S\w*\s*", text)]
            answer = await ask(server.ws, start, *tokens, {"done": True})
            assert answer.codes == []
            return answer.audio

        yield speak


def heard(pcm: bytes, folder: Path, python: Path, script: str, *arguments: str) -> str:
    wav = folder / "heard.wav"
    wav.write_bytes(wav_header(24_000, len(pcm)) + pcm)
    command = [python, "-I", Path(__file__).with_name(script), *arguments, wav]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return str(json.loads(told.stdout)[0])


def english(pcm: bytes, folder: Path) -> str:
    return heard(pcm, folder, VenvStore().build("recogniser", RECOGNISER, report=print), "recogniser.py")


def japanese(pcm: bytes, folder: Path) -> str:
    whisper = load_config(None).backends["whisper"].venv
    return heard(pcm, folder, VenvStore().build("whisper", whisper, report=print), "multilingual.py", "ja")


async def test_kokoro_speaks_english_in_a_voice_and_in_a_blend(kokoro_python: Path, tmp_path: Path) -> None:
    async with speaking("kokoro", kokoro_python) as speak:
        audio = await speak(LONG, voice="jm_kumo") + await speak(ENGLISH, voice="jm_kumo(2)+jf_gongitsune(1)")
    assert word_error_rate(f"{LONG} {ENGLISH}", english(audio, tmp_path)) <= WORD_ERRORS


async def test_kokoro_speaks_japanese(kokoro_python: Path, tmp_path: Path) -> None:
    async with speaking("kokoro", kokoro_python) as speak:
        text = japanese(await speak(JAPANESE, voice="jf_alpha"), tmp_path)
    assert character_error_rate(JAPANESE, text) <= CHARACTER_ERRORS
    assert character_error_rate("私は猫が好きです。昨日は本を読みました。", text) > 2 * CHARACTER_ERRORS


async def test_piper_speaks_english(piper_python: Path, tmp_path: Path) -> None:
    async with speaking("piper", piper_python) as speak:
        audio = await speak(f"{ENGLISH} {LONG}")
    assert word_error_rate(f"{ENGLISH} {LONG}", english(audio, tmp_path)) <= WORD_ERRORS


def character_error_rate(reference: str, heard: str) -> float:
    """Blanks and punctuation count for nothing."""
    return error_rate(re.findall(r"\w", reference), re.findall(r"\w", heard))
