"""Environments of the heavy engines, as backends.yaml says, with a torch that lies at hand."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from voice_server.config import load_config
from voice_server.venvs import VenvStore

CPU_TORCH = "torch==2.13.0"  # as voxcpm-cpu has it


def python_of(backend: str) -> Path:
    """The python of the backend's environment. Skips where uv would fetch gigabytes of CUDA for a few tests."""
    spec = load_config(None).backends[backend].venv
    pinned = tuple(CPU_TORCH if text.startswith("torch>") else text for text in spec.requirements)
    spec, store = replace(spec, requirements=pinned), VenvStore()
    if not (store.find(spec) or os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS")):
        pytest.skip("no CPU wheel of torch: name the folder of one in UV_FIND_LINKS")
    return store.build(backend, spec, report=print)
