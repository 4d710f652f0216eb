"""Two engines that cannot live in one environment speak in one server; the reason why every backend has its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import uv
import websockets

from tests.harness import read_answer, say
from tests.server_process import HOME, ServerProcess
from voice_server.config import load_config

ADAPTER = """
import clash
import numpy as np

class Clashing:
    sample_rate = 24000

    def __init__(self, device):
        self.device = device

    def voices(self):
        return [f"clash-{clash.version}"]

    def render(self, text, voice):
        yield np.full(12000, clash.version / 10, np.float32)
"""
BUILD_S = 90.0  # two environments and a start, on a busy machine


def write_wheel(folder: Path, version: int) -> None:
    name = f"clash-{version}.0"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("clash.py", f"version = {version}\n")
        wheel.writestr(f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: clash\nVersion: {version}.0\n")
        tag = "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{name}.dist-info/WHEEL", tag)
        files = ("clash.py", *(f"{name}.dist-info/{file}" for file in ("METADATA", "WHEEL", "RECORD")))
        wheel.writestr(f"{name}.dist-info/RECORD", "".join(f"{file},,\n" for file in files))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    """Started with two backends whose environments it has to build first."""
    (tmp_path / "clashing.py").write_text(textwrap.dedent(ADAPTER))
    backends = {}
    for name, version in (("one", 1), ("two", 2)):
        write_wheel(tmp_path, version)
        venv = {"requirements": [f"clash=={version}.0"]}
        backends[name] = {"adapter": "clashing.py:Clashing", "venv": venv, "guard": False, "warmup_text": ""}
    (tmp_path / "backends.yaml").write_text(json.dumps({"backends": backends}))
    command = [sys.executable, "-m", "voice_server", "--port", "0", "--backend", "one", "--backend", "two"]
    links = [str(tmp_path), *filter(None, [os.environ.get("UV_FIND_LINKS")])]
    homes = {"VOICE_SERVER_HOME": str(tmp_path / "home"), "UV_FIND_LINKS": ",".join(links)}
    environ = {**os.environ, "PYTHONPATH": str(HOME), **homes}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield ServerProcess(process, BUILD_S)
        finally:
            process.terminate()


@pytest.mark.anyio
async def test_two_versions_of_one_package_speak_in_one_server(server: ServerProcess) -> None:
    server.wait_ready()
    for name, version in (("one", 1), ("two", 2)):
        url = f"{server.ws}/stream-tokens?backend={name}&voice=clash-{version}&sample_rate=native"
        async with websockets.connect(url) as socket:
            await say(socket, {"token": "Hello there.", "done": True})
            answer = await read_answer(socket)
        assert np.frombuffer(answer.audio, "<i2").mean() == pytest.approx(version / 10 * 32767, rel=0.01)


# What the real pair asks for. Resolving needs the package index, not the packages.


@dataclass(frozen=True)
class Resolved:
    code: int
    told: str


def resolve(*requirements: str) -> Resolved:
    command = [uv.find_uv_bin(), "pip", "compile", "--quiet", "--python-version", "3.11", "--no-header", "-"]
    given = "\n".join(requirements)
    ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=BUILD_S, check=False)
    return Resolved(ended.returncode, ended.stdout + ended.stderr)


@pytest.mark.release
@pytest.mark.parametrize(
    ("name", "pin"), [("chatterbox", "transformers==5.2.0"), ("vibevoice", "transformers==4.51.3")]
)
def test_each_of_the_real_engines_can_be_installed(name: str, pin: str) -> None:
    venv = load_config(None).backends[name].venv
    resolved = resolve(*venv.requirements)
    assert resolved.code == 0 and pin in resolved.told
    assert all(resolve(package).code == 0 for package in venv.no_deps if "torchaudio" not in package)


@pytest.mark.release
def test_the_real_engines_cannot_be_installed_together() -> None:
    backends = load_config(None).backends
    together = resolve(*backends["chatterbox"].venv.requirements, *backends["vibevoice"].venv.requirements)
    assert together.code != 0 and "your requirements are unsatisfiable" in together.told
