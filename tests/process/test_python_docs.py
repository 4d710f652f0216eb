"""The examples of docs/python.md, each as the program that a reader would make of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE | re.DOTALL)
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=ENVIRON, capture_output=True, text=True, timeout=100
    )


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 7


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs_as_it_stands(
    tmp_path: Path, hibari_python: Path, request: pytest.FixtureRequest, example: str
) -> None:
    if "whisper" in example:
        request.getfixturevalue("whisper_python")
    (tmp_path / "example.py").write_text(example)
    ended = run(tmp_path, "example.py")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout or "print" not in example


def test_the_examples_are_typed(tmp_path: Path) -> None:
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(example)
    flags = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    checked = run(tmp_path, "-m", "mypy", *flags, "--follow-imports=silent", *map(str, tmp_path.glob("*.py")))
    assert checked.returncode == 0, checked.stdout
