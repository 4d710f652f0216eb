from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import LOAD_S, ROOT
from voice_server.config import BackendConfig, Config, VenvSpec
from voice_server.terminal.install import run_install
from voice_server.venvs import VenvStore

TONE = BackendConfig(name="tone", adapter="voice_server.backends.tone:ToneBackend")
OTHER = BackendConfig(name="other", adapter="other", venv=VenvSpec(requirements=("six",)))
BAD = BackendConfig(name="bad", adapter="bad", venv=VenvSpec(requirements=("voice-server-no-such-package==0",)))
CONFIG = Config(Path("backends.yaml"), "auto", {backend.name: backend for backend in (TONE, OTHER, BAD)})


@pytest.fixture
def store(tmp_path):
    return VenvStore(tmp_path)


@pytest.fixture
def install(store):
    """Runs install; gives its exit code and what it printed."""

    def _install(*names: str, terminal: bool = False, **options: bool) -> tuple[int, str]:
        out = io.StringIO()
        console = Console(file=out, width=200, force_terminal=terminal, highlight=False)
        return run_install(CONFIG, list(names), store, console=console, **options), out.getvalue()

    return _install


def test_without_names_the_backend_that_auto_picks_is_installed(install, store):
    code, said = install()
    assert code == 0 and store.find(TONE.venv) and store.find(OTHER.venv) is None
    assert f"tone: ready, {store.find(TONE.venv)}" in said


def test_a_pipe_gets_uv_s_words_as_plain_lines(install):
    said = install("tone")[1]
    assert any(line.startswith("tone: + numpy==") for line in said.splitlines()) and "\x1b" not in said


def test_a_terminal_gets_a_spinner_and_the_result(install, store):
    code, said = install("tone", terminal=True)
    assert code == 0 and "\x1b[2K" in said and f"tone: ready, {store.find(TONE.venv)}" in said


def test_one_failure_is_told_and_does_not_keep_the_others_from_being_built(install, store):
    code, said = install("bad", "tone")
    assert code == 1 and store.find(TONE.venv)
    assert "voice-server-no-such-package==0 could not be installed" in said
    assert "python -m voice_server install bad" in said


def test_an_unknown_name_is_told_before_anything_is_built(install, store):
    code, said = install("tone", "nobody")
    assert code == 1 and "known are auto, tone, other, bad" in said and store.find(TONE.venv) is None


def test_pruning_removes_what_the_configuration_does_not_need(install, store):
    gone = replace(TONE, venv=VenvSpec(requirements=("idna",)))
    store.build("gone", gone.venv, lambda _: None)
    code, said = install("tone", prune=True)
    assert code == 0 and f"removed {store.folder(gone.venv)}" in said
    assert store.find(TONE.venv) and store.find(gone.venv) is None


def test_what_doctor_advises_for_an_old_environment_is_a_command(store, tmp_path):
    store.build("gone", VenvSpec(requirements=("idna",)), lambda _: None)
    (tmp_path / "mine.yaml").write_text(f"backends: {{mine: {{adapter: m, venv: {{path: {sys.prefix}}}}}}}")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "VOICE_SERVER_HOME": str(tmp_path), "COLUMNS": "200"}

    def told(*arguments: str) -> str:
        command = [sys.executable, "-m", "voice_server", *arguments, "--config", "mine.yaml"]
        return subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=LOAD_S).stdout

    assert "python -m voice_server install --prune" in told("doctor")
    assert "which no backend needs" in told("install", "mine", "--prune")
    assert "old environment" not in told("doctor")


def test_weights_are_fetched_where_the_environment_is_ready(install):
    code, said = install("bad", "tone", weights=True)
    assert code == 1 and said.endswith("tone: there is nothing to download\n")
