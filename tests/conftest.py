"""Fixtures of all tiers: the environment of the tone backend, and the leak check after every process and e2e test."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.harness import wait_until
from voice_server.config import load_config
from voice_server.venvs import VenvStore


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tone_python() -> Path:
    """The python of the real environment that the tone backend gets."""
    spec = load_config(None).backends["tone"].venv
    return VenvStore().build("tone", spec, report=print)


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """The test leaves no process and no file descriptor behind. Ask for it before anything that opens some."""
    me = psutil.Process()
    children, fds = set(me.children(recursive=True)), _open_fds()
    yield
    gc.collect()
    wait_until(lambda: set(me.children(recursive=True)) <= children, "child processes are gone")
    wait_until(lambda: len(_open_fds()) <= len(fds), "file descriptors are closed")


def _open_fds() -> set[str]:
    return {f"{fd} {os.readlink(path)}" for fd in os.listdir("/proc/self/fd") if os.path.exists(path := f"/proc/self/fd/{fd}")}
