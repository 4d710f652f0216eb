"""F8: a configuration that is wrong ends the start with all that is wrong, and one that is evil does no more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import TIMEOUT_S
from tests.server_process import HOME

ENGINES = ["torch", "voxcpm", "hibari", "kokoro", "piper", "faster_whisper", "chatterbox", "vibevoice", "onnxruntime"]


def started(folder: Path, config: bytes) -> tuple[int, list[str]]:
    """The exit code, and what was said."""
    (folder / "mine.yaml").write_bytes(config)
    command = [sys.executable, "-m", "voice_server", "--config", str(folder / "mine.yaml"), "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(HOME), "HOME": str(folder), "VOICE_SERVER_HOME": str(folder / "home")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=folder, timeout=3 * TIMEOUT_S)
    return ended.returncode, ended.stderr.splitlines()


def lines_told(folder: Path, said: list[str]) -> list[int]:
    """The numbers of the lines that the messages name."""
    place = f"{folder}/mine.yaml:"
    return [int(line.split(place)[1].split(":")[0]) for line in said if place in line]


EVIL = b"""\
default: nobody
backends:
  a: {adapter: m, workers: -1, workers: 2}
  b:
    adapter: "?"
    worker: 2
    opts: {speed: {type: float, min: x}}
  c: {adapter: m, devices: gpu, limits: {load_s: .nan}}
"""


def test_f8_all_that_is_wrong_is_told_with_its_line_and_the_exit_code_says_configuration(tmp_path: Path) -> None:
    code, said = started(tmp_path, EVIL)
    assert code == 78
    assert set(lines_told(tmp_path, said)) >= {3, 5, 6, 7, 8}
    assert not any("Traceback" in line for line in said)
    assert os.listdir(tmp_path) == ["mine.yaml"]  # no environment was begun


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (b"x: 1\ny: !!python/object/apply:os.mkdir [made]\n", 2),
        (b"x: !!python/name:os.system\n", 1),
        (
            b"a: &a [x,x,x]\n" + b"".join(b"%c: &%c [*%c,*%c,*%c]\n" % (n + 1, n + 1, n, n, n) for n in range(97, 105)),
            1,
        ),
        (b"backends:\n  a: {adapter: m}\n  a: {adapter: m}\n", 3),
        (b"backends:\n\ta: {adapter: m}\n", 2),
        (b"\xef\xbb\xbfbackends:\n  a: {adapter: m, wrong: 1}\n", 2),
        (b"backends: {a: {adapter: m}}\nb: \xff\n", 2),
        (b"[" * 100_000, 1),
    ],
    ids=["object", "name", "aliases", "twice", "tab", "byte order mark", "no UTF-8", "depth"],
)
def test_f8_an_evil_file_is_refused_with_its_line(tmp_path: Path, config: bytes, line: int) -> None:
    code, said = started(tmp_path, config)
    assert code == 78
    assert line in lines_told(tmp_path, said)
    assert not any("Traceback" in line for line in said)
    assert not (tmp_path / "made").exists()


def test_f8_starting_imports_no_engine_no_adapter_and_no_studio() -> None:
    code = "import json, sys, voice_server.__main__; print(json.dumps(list(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=HOME, timeout=3 * TIMEOUT_S)
    modules: list[str] = json.loads(ran.stdout)
    ours = ("voice_server.backends", "voice_server.worker", "voice_server.studio")
    assert [name for name in modules if name.startswith(ours) or name.partition(".")[0] in ENGINES] == []
