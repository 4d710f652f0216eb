"""A folder of voice samples, and its voices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.voice_folder import store_of
from voice_server.voices import VoiceStore


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "samples").mkdir()
    return tmp_path / "samples"


@pytest.fixture
def store(folder: Path) -> VoiceStore:
    return store_of(folder)
