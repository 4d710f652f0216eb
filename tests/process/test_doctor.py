from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import pytest
import uv
from rich.console import Console

from voice_server.config import BackendConfig, Config, Needs, VenvSpec
from voice_server.terminal.doctor import run_doctor
from voice_server.venvs import VenvStore

TONE = BackendConfig(name="tone", adapter="voice_server.backends.tone:ToneBackend")
OTHER = BackendConfig(name="other", adapter="other", venv=VenvSpec(requirements=("six",)))
NO_GPUS = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}


def no_uv() -> str:
    raise FileNotFoundError


def config(*backends: BackendConfig) -> Config:
    return Config(Path("/etc/backends.yaml"), "auto", {backend.name: backend for backend in backends})


@pytest.fixture
def store(tmp_path):
    return VenvStore(tmp_path / "home")


@pytest.fixture
def doctor(store, tmp_path):
    """Runs doctor; gives its exit code and its report."""

    def _doctor(*backends: BackendConfig, find_uv=uv.find_uv_bin) -> tuple[int, str]:
        out = io.StringIO()
        console = Console(file=out, width=300)
        code = run_doctor(
            config(*backends), store, environ=NO_GPUS, samples=tmp_path / "samples", find_uv=find_uv, console=console
        )
        return code, out.getvalue()

    return _doctor


def line(report: str, about: str) -> str:
    return next(line for line in report.splitlines() if about in line)


def test_a_machine_that_can_build_its_backend_is_well(doctor):
    code, report = doctor(TONE)
    assert code == 0 and "broken" not in report
    assert "not built yet" in report and "python -m voice_server install tone" in report


def test_the_choice_is_told_with_its_reason(doctor):
    _, report = doctor(TONE, OTHER)
    assert "tone. It is the first backend that fits this machine" in line(report, "chosen backend")


def test_a_built_environment_is_told_with_its_place_and_size(doctor, store):
    store.build("tone", TONE.venv, lambda _: None)
    told = line(doctor(TONE)[1], "backend tone")
    assert str(store.folder(TONE.venv)) in told and int(told.split()[-2]) > 10 and told.split()[-1] == "MiB"


def test_an_environment_that_nothing_needs_is_told(doctor, store):
    store.build("other", OTHER.venv, lambda _: None)
    assert str(store.folder(OTHER.venv)) in line(doctor(TONE)[1], "old environment")


def test_a_missing_uv_is_broken_while_an_environment_must_be_built(doctor):
    code, report = doctor(TONE, find_uv=no_uv)
    assert code == 1 and "broken" in line(report, "uv ") and "pip install uv" in report


def test_a_missing_uv_is_but_a_note_when_the_environment_is_built(doctor, store):
    store.build("tone", TONE.venv, lambda _: None)
    code, report = doctor(TONE, find_uv=no_uv)
    assert code == 0 and "note" in line(report, "uv ")


def test_a_missing_python_of_the_chosen_backend_is_broken(doctor):
    code, report = doctor(replace(TONE, venv=VenvSpec(python="==3.99.*")))
    assert code == 1 and "no Python ==3.99.*" in line(report, "backend tone")


def test_trouble_of_a_backend_that_was_not_chosen_is_but_a_note(doctor):
    code, report = doctor(TONE, replace(OTHER, venv=VenvSpec(python="==3.99.*")))
    assert code == 0 and "note" in line(report, "backend other")


def test_an_own_environment_that_is_not_there_is_broken(doctor, tmp_path):
    code, report = doctor(replace(TONE, venv=VenvSpec(path=tmp_path / "none")))
    assert code == 1 and "There is no" in line(report, "backend tone")


def test_an_adapter_file_that_is_not_there_is_broken(doctor, tmp_path):
    code, report = doctor(replace(TONE, adapter=f"{tmp_path}/engine.py:Engine"))
    assert code == 1 and f"{tmp_path}/engine.py does not exist" in report


def test_an_adapter_file_that_is_there_is_well(doctor, tmp_path):
    (tmp_path / "engine.py").touch()
    assert doctor(replace(TONE, adapter=f"{tmp_path}/engine.py:Engine"))[0] == 0


def test_no_backend_that_fits_is_broken(doctor):
    code, report = doctor(replace(TONE, devices="auto", needs=Needs(cuda_gib=8)))
    assert code == 1 and "needs 8 GiB" in line(report, "chosen backend")


def test_missing_gpus_are_told_with_the_reason_and_break_nothing(doctor):
    code, report = doctor(TONE)
    assert code == 0 and "none: " in line(report, "GPUs")


def test_voice_samples_are_counted(doctor, tmp_path):
    (tmp_path / "samples").mkdir()
    for name in ("anna.wav", "anna.txt", "bob.FLAC"):
        (tmp_path / "samples" / name).touch()
    told = line(doctor(TONE)[1], "voice samples")
    assert f"2 in {tmp_path}/samples: anna, bob" in told


def test_a_voice_sample_whose_name_no_voice_can_have_is_told(doctor, tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "-rf.wav").touch()
    assert "no voice can be called -rf" in line(doctor(TONE)[1], "voice samples")


def test_doctor_changes_nothing(doctor, tmp_path):
    doctor(TONE, OTHER)
    assert list(tmp_path.rglob("*")) == []
