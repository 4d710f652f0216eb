from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from voice_server.config import load_config
from voice_server.core.settings import BackendConfig
from voice_server.terminal.weights import fetch_weights

FETCHER = """
class Fetcher:
    @staticmethod
    def fetch(options, report):
        report("downloading " + options["what"])
        if options["what"] == "too much":
            raise OSError("No space left on device\\nmore that nobody wants to know")
"""


def fetched(backend: BackendConfig, python: Path) -> tuple[bool, str]:
    out = io.StringIO()
    return fetch_weights(backend, python, Console(file=out, width=200)), out.getvalue()


def fetcher(folder: Path, what: str) -> BackendConfig:
    (folder / "fetcher.py").write_text(FETCHER)
    return BackendConfig("fetcher", f"{folder / 'fetcher.py'}:Fetcher", options={"what": what})


def voxcpm(folder: Path, model: str) -> BackendConfig:
    """As on a machine without a network, whose hub's cache is empty."""
    environ = {"HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    return replace(load_config(None).backends["voxcpm-cpu"], options={"model": model}, env=environ)


def test_an_adapter_downloads_what_its_options_name_and_tells(tone_python: Path, tmp_path: Path) -> None:
    is_here, said = fetched(fetcher(tmp_path, "a model"), tone_python)
    assert is_here
    assert said == "fetcher: downloading a model\nfetcher: weights are here\n"


def test_a_failure_is_one_sentence(tone_python: Path, tmp_path: Path) -> None:
    is_here, said = fetched(fetcher(tmp_path, "too much"), tone_python)
    assert not is_here
    assert said.splitlines()[1:] == ["fetcher: the download failed (OSError): No space left on device"]


def test_a_backend_that_downloads_nothing_has_all_it_needs(tone_python: Path) -> None:
    is_here, said = fetched(load_config(None).backends["tone"], tone_python)
    assert is_here
    assert said == "tone: there is nothing to download\n"


def test_an_environment_that_cannot_run_is_a_failure(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    os.chmod(python, 0o755)
    assert not fetched(fetcher(tmp_path, "a model"), python)[0]


def test_a_local_model_needs_no_download(voxcpm_python: Path, tmp_path: Path) -> None:
    assert fetched(voxcpm(tmp_path, str(tmp_path)), voxcpm_python) == (True, "voxcpm-cpu: weights are here\n")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("openbmb/VoxCPM2", "openbmb/VoxCPM2 could not be downloaded, and was not before"),
        ("/no/such/folder", "there is no folder /no/such/folder; a model of the hub is written owner/name"),
    ],
)
def test_what_cannot_be_had_is_told_in_one_sentence(
    voxcpm_python: Path, tmp_path: Path, model: str, sentence: str
) -> None:
    is_here, said = fetched(voxcpm(tmp_path, model), voxcpm_python)
    assert not is_here
    assert said.splitlines()[-1] == f"voxcpm-cpu: {sentence}"
