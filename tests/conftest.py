"""Fixtures of all tiers: the environment of the tone backend, and the leak check after every process and e2e test."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.harness import eventually
from voice_server.config import load_config
from voice_server.venvs import VenvStore

# How fast examples are drawn depends on the machine's other users; that is no fault of a test.
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tone_python() -> Path:
    """The python of the real environment that the tone backend gets."""
    return _shipped_python("tone")


@pytest.fixture(scope="session")
def hibari_python() -> Path:
    return _shipped_python("hibari")


def _shipped_python(backend: str) -> Path:
    return VenvStore().build(backend, load_config(None).backends[backend].venv, report=print)


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
