"""The voxcpm backend's real environment and tiny checkpoints of all architectures, made once for all tests."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.process.worker_driver import Worker, started
from voice_server.config import load_config
from voice_server.venvs import VenvStore
from voice_server.wire.messages import Ready

ROOT = Path(__file__).resolve().parents[2]
LOAD_S = 100.0  # torch from a cold disk, on a busy machine

# Around the adapter, a network that tells on everybody who tries to use it.
OFFLINE = """
import socket
from pathlib import Path

def forbidden(*arguments, **options):
    (Path(__file__).parent / "network").write_text(repr(arguments))
    raise OSError("no network in this test")

socket.getaddrinfo = forbidden
socket.socket.connect = forbidden
from voice_server.backends.voxcpm import VoxcpmBackend
"""

StartVoxcpm = Callable[..., AbstractContextManager[Worker]]


def edit_tensors(path: Path, edit: Callable[[dict[str, Any], bytearray], None]) -> None:
    """A safetensors file is the length of its header, the header as JSON, and the data."""
    content = path.read_bytes()
    begin = 8 + struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:begin]), bytearray(content[begin:])
    edit(header, data)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


@pytest.fixture(scope="session")
def voxcpm_python() -> Path:
    """Only where a CPU wheel of torch lies at hand: without one, uv would fetch gigabytes of CUDA for a few tests."""
    spec, store = load_config(None).backends["voxcpm-cpu"].venv, VenvStore()
    if not (store.find(spec) or os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS")):
        pytest.skip("no CPU wheel of torch: name the folder of one in UV_FIND_LINKS")
    return store.build("voxcpm-cpu", spec, report=print)


@pytest.fixture(scope="session")
def voxcpm_models(voxcpm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints 0.5b, 1.5 and 2, each with the LoRA adapters calm and wild."""
    folder = tmp_path_factory.mktemp("voxcpm")
    command = [voxcpm_python, ROOT / "tests" / "tiny_voxcpm.py", folder, "--lora", "calm:4", "--lora", "wild:40"]
    environ = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=LOAD_S)
    return folder


@pytest.fixture(scope="session")
def voxcpm_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter without a network; the file `network` appears beside it if somebody tries."""
    path = tmp_path_factory.mktemp("adapter") / "offline.py"
    path.write_text(OFFLINE)
    return path


@pytest.fixture(scope="session")
def voxcpm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def voxcpm_worker(voxcpm_python: Path, voxcpm_models: Path, voxcpm_adapter: Path, voxcpm_cache: Path) -> StartVoxcpm:
    """Starts a worker with the checkpoint of an architecture, or the one in a folder."""

    @contextmanager
    def _start(model: str | Path, ready: bool = True, **options: Any) -> Iterator[Worker]:
        with pytest.MonkeyPatch.context() as environ:
            environ.setenv("VOICE_SERVER_CACHE", str(voxcpm_cache))
            with started(python=str(voxcpm_python)) as worker:
                worker.sock.settimeout(LOAD_S)
                if ready:
                    folder = str(voxcpm_models / model)  # an absolute path stays what it is
                    answer = worker.load(f"{voxcpm_adapter}:VoxcpmBackend", model=folder, **options)
                    assert isinstance(answer, Ready), f"{answer}\n{worker.log}"
                yield worker

    return _start


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds that are as much of a voice as these models need."""
    path = tmp_path_factory.mktemp("sample") / "voice.flac"
    noise = np.random.default_rng(0).standard_normal((3 * 44100, 2)) * 0.1
    soundfile.write(path, noise, 44100)
    return path
