"""The whole way with a real engine: tokens over a socket → hibari → PCM → a speech recogniser reads the same words."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness import FAST, FAST_WORKER, Answer, ask, running_server
from voice_server.config import load_config
from voice_server.core.audio.pcm import wav_header

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

SENTENCES = (
    "The weather in London is cold and wet today.",
    "Please send the report to the whole team before noon.",
    "Our train leaves the station at seven in the morning.",
    "She plays the piano every evening after dinner.",
)
RECOGNISER = load_config(None).backends["whisper-tiny"].venv

Hear = Callable[[bytes], str]


@pytest.fixture(scope="module")
def hear(whisper_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Hear:
    """faster-whisper itself, not our way to use it: what it reads is to judge us."""
    wav, script = tmp_path_factory.mktemp("speech") / "heard.wav", Path(__file__).with_name("recogniser.py")

    def transcribe(pcm: bytes) -> str:
        wav.write_bytes(wav_header(24_000, len(pcm)) + pcm)
        told = subprocess.run([whisper_python, "-I", script, wav], stdout=subprocess.PIPE, check=True)
        return str(json.loads(told.stdout)[0])

    return transcribe


async def _spoken(hibari_python: Path) -> Answer:
    limits = replace(FAST_WORKER, load_s=60.0, first_chunk_s=20.0, chunk_gap_s=20.0)
    backend = replace(load_config(None).backends["hibari"], limits=limits)
    async with running_server(backend, hibari_python, limits=FAST) as server:
        tokens = re.findall(r"\S+\s*", " ".join(SENTENCES))
        return await ask(server.ws, *({"token": token} for token in tokens), {"done": True})


async def test_a_recogniser_reads_what_was_sent(hibari_python: Path, hear: Hear) -> None:
    answer = await _spoken(hibari_python)
    assert answer.codes == []
    assert word_error_rate(" ".join(SENTENCES), hear(answer.audio)) <= 0.15


async def test_the_recogniser_would_notice_a_wrong_order(hibari_python: Path, hear: Hear) -> None:
    """The check above can fail: the same sentences in another order are far off."""
    answer = await _spoken(hibari_python)
    shuffled = b"".join(answer.sentences[index] for index in (2, 0, 3, 1))
    assert word_error_rate(" ".join(SENTENCES), hear(shuffled)) > 0.5


def word_error_rate(reference: str, heard: str) -> float:
    """Insertions, deletions and substitutions per word of the reference; may exceed 1."""
    return error_rate(_words(reference), _words(heard))


def error_rate(expected: Sequence[str], got: Sequence[str]) -> float:
    row = list(range(len(got) + 1))
    for number, word in enumerate(expected, 1):
        above, row = row, [number]
        for column, other in enumerate(got, 1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (word != other)))
    return row[-1] / len(expected)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower().replace("7", "seven"))
