"""docs/adding-a-backend.md, followed to the letter: its adapter and its entry speak."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.e2e.programs import program
from tests.harness import ask, running_server
from voice_server.config import load_config
from voice_server.venvs import VenvStore
from voice_server.worker.pcm import to_pcm

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-backend.md"
TEXT = "Hello there."

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A folder with the page's two files."""
    (tmp_path / "buzz.py").write_text(block("python"))
    (tmp_path / "buzz.yaml").write_text(block("yaml"))
    return tmp_path / "buzz.yaml"


def block(language: str) -> str:
    """The first code block of the page in this language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found, f"the page has no {language} block"
    return found[1]


def expected(text: str, voice: str, *, speed: float = 1.0) -> bytes:
    """What the page's adapter gives, run right here."""
    names: dict[str, Any] = {}
    exec(block("python"), names)
    chunks = list(names["Buzz"]("cpu", pitch=120.0).render(text, voice, speed=speed))
    return to_pcm(np.concatenate(chunks))


@pytest.mark.anyio
async def test_the_pages_backend_speaks_through_the_gateway(config: Path) -> None:
    buzz = load_config(config).backends["buzz"]
    python = VenvStore().build("buzz", buzz.venv, report=print)
    async with running_server(buzz, python) as server:
        answer = await ask(server.ws, {"token": TEXT, "done": True})
        other = await ask(server.ws, {"voice": "high", "opts": {"speed": 2.0}}, {"token": TEXT, "done": True})
        wrong = await ask(server.ws, {"opts": {"speed": 3.0}}, {"done": True})
    assert answer.audio == expected(TEXT, "low")
    assert other.audio == expected(TEXT, "high", speed=2.0)
    assert wrong.codes == ["bad_option"]


def test_the_pages_command_writes_a_file(config: Path) -> None:
    words = re.search(r"^\$ python cli\.py (.*)$", block("console"), re.MULTILINE)
    assert words, "the page has no command"
    ended = program("cli.py", *shlex.split(words[1]), folder=config.parent)
    assert ended.code == 0, ended.err
    samples, rate = soundfile.read(config.parent / "hello.wav", dtype="int16")
    assert (rate, samples.tobytes()) == (24000, expected(TEXT, "low"))
