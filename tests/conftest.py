"""Fixtures of all tiers: real environments of backends, tiny VoxCPM checkpoints, and the leak check after tests."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile
from hypothesis import HealthCheck, settings

from tests.harness import eventually
from tests.placement import PLACEMENT, on_ray
from voice_server.config import load_config
from voice_server.venvs import VenvStore

ROOT = Path(__file__).resolve().parents[1]
LOAD_S = 100.0  # torch from a cold disk, on a busy machine

# How fast examples are drawn depends on the machine's other users; that is no fault of a test.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("shared machine"), max_examples=20)  # a fifth
settings.load_profile("shared machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    where = "where workers live that no test places itself: here, or on the nodes of a Ray cluster"
    parser.addoption("--placement", choices=("local", "ray"), default="local", help=where)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def placement(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.config.getoption("--placement") == "local":
        yield
        return
    with on_ray():
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if PLACEMENT.launched:
        terminalreporter.write_line(f"{PLACEMENT.launched} pools of workers lived on the cluster")


@pytest.fixture(scope="session")
def tone_python() -> Path:
    """The python of the real environment that the tone backend gets."""
    return _shipped_python("tone")


@pytest.fixture(scope="session")
def hibari_python() -> Path:
    return _shipped_python("hibari")


@pytest.fixture(scope="session")
def kokoro_python() -> Path:
    return _shipped_python("kokoro")


@pytest.fixture(scope="session")
def piper_python() -> Path:
    return _shipped_python("piper")


@pytest.fixture(scope="session")
def whisper_python() -> Path:
    """With the weights of tiny.en, English."""
    return _shipped_python("whisper-tiny")


def _shipped_python(backend: str) -> Path:
    return VenvStore().build(backend, load_config(None).backends[backend].venv, report=print)


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
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds that are as much of a voice as these models need."""
    path = tmp_path_factory.mktemp("sample") / "voice.flac"
    noise = np.random.default_rng(0).standard_normal((3 * 44100, 2)) * 0.1
    soundfile.write(path, noise, 44100)
    return path


@pytest.fixture
async def no_leaks(anyio_backend: str, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """The test leaves no task, process or file descriptor behind. Ask for it before anything that opens some.

    An exception that nobody retrieved is raised by anyio's own runner; what asyncio can only log is looked for here.
    """
    me = psutil.Process()
    children, fds, tasks = set(me.children(recursive=True)), _open_fds(), _tasks()
    yield
    await eventually(lambda: _tasks() <= tasks, "tasks have ended")
    gc.collect()
    await eventually(lambda: set(me.children(recursive=True)) <= children, "child processes are gone")
    await eventually(lambda: len(_open_fds()) <= len(fds), "file descriptors are closed")
    logged = [*caplog.get_records("call"), *caplog.get_records("teardown")]
    assert [record.getMessage() for record in logged if record.name == "asyncio" and record.levelname == "ERROR"] == []


def _tasks() -> set[asyncio.Task[object]]:
    """Without those in which anyio runs tests and fixtures."""
    return {task for task in asyncio.all_tasks() if "TestRunner." not in repr(task.get_coro())}


def _open_fds() -> set[str]:
    return {
        f"{fd} {os.readlink(path)}"
        for fd in os.listdir("/proc/self/fd")
        if os.path.exists(path := f"/proc/self/fd/{fd}")
    }
