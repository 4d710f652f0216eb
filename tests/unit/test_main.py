from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from voice_server.assembly import far_specs, sharing_warning, worker_environ, worker_specs
from voice_server.config import load_config
from voice_server.core.placement import Placement
from voice_server.core.settings import BackendConfig, Gpu, Resources
from voice_server.pool.remote import FarCommand

CPU = Placement("cpu", "")
PYTHON = Path("/python")
TWO_GPUS = [Gpu(index, "RTX", 24.0, 20.0) for index in (0, 1)]
VOXCPM = load_config(None).backends["voxcpm"]


def environ(**given: str) -> dict[str, str]:
    return worker_environ(given, BackendConfig("x", "x:X"), CPU)


def test_a_worker_sees_the_cache_of_the_gateway_and_none_of_its_other_settings() -> None:
    seen = environ(VOICE_SERVER_TOKEN="secret", VOICE_SERVER_HOME="/home", VOICE_SERVER_CACHE="/other", LANG="C")
    assert {name: value for name, value in seen.items() if name.startswith("VOICE_SERVER")} == {
        "VOICE_SERVER_CACHE": "/home"
    }
    assert seen["LANG"] == "C"


def test_a_worker_sees_nothing_of_the_language_model() -> None:
    assert not [name for name in environ(LLM_API_KEY="secret", LLM_BASE_URL="http://model") if name.startswith("LLM")]


def test_the_cache_stands_beside_the_environments() -> None:
    assert environ(XDG_CACHE_HOME="/cache")["VOICE_SERVER_CACHE"] == "/cache/voice-server"


def test_the_path_of_the_cache_does_not_depend_on_where_a_worker_runs() -> None:
    assert Path(environ(VOICE_SERVER_HOME="home")["VOICE_SERVER_CACHE"]) == Path("home").absolute()


def test_a_backend_s_own_environment_has_the_last_word() -> None:
    backend = BackendConfig("x", "x:X", env={"VOICE_SERVER_CACHE": "/mine"})
    assert worker_environ({}, backend, CPU)["VOICE_SERVER_CACHE"] == "/mine"


@pytest.mark.parametrize(("workers", "optimize"), [(0, "auto"), (2, "auto"), (3, False)])
def test_workers_that_share_a_gpu_are_not_compiled(workers: int, optimize: object) -> None:
    specs = worker_specs(VOXCPM, PYTHON, workers, TWO_GPUS)
    assert [spec.load.options.get("optimize", "auto") for spec in specs] == [optimize] * (workers or 2)


def test_a_spare_shares_the_gpu_of_the_worker_whose_place_it_takes() -> None:
    specs = worker_specs(replace(VOXCPM, spares=1), PYTHON, 2, TWO_GPUS)
    assert [(spec.device, spec.is_spare) for spec in specs] == [("cuda:0", False), ("cuda:1", False), ("cuda:0", True)]
    assert [spec.load.options["optimize"] for spec in specs] == [False] * 3
    assert "3 workers share 2 GPU(s)" in sharing_warning(replace(VOXCPM, spares=1), 2, TWO_GPUS)


def test_workers_that_share_a_gpu_are_told_to_the_operator_with_the_reason() -> None:
    warning = sharing_warning(VOXCPM, 3, TWO_GPUS)
    assert "voxcpm: 3 workers share 2 GPU(s)" in warning
    assert "optimize: false" in warning


@pytest.mark.parametrize(
    ("backend", "workers", "gpus"),
    [(VOXCPM, 2, TWO_GPUS), (VOXCPM, 4, []), (replace(VOXCPM, shared_gpu_options={}), 3, TWO_GPUS)],
    ids=["a GPU each", "no GPU", "an engine that does not mind"],
)
def test_there_is_no_warning_where_nothing_changes(backend: BackendConfig, workers: int, gpus: list[Gpu]) -> None:
    assert sharing_warning(backend, workers, gpus) == ""


def test_a_far_worker_is_told_nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_SERVER_TOKEN", "secret")
    spec, spare = far_specs(replace(VOXCPM, spares=1, env={"HF_HOME": "/weights"}), 1)
    assert spec.command.argv == ("worker/bootstrap.py",)
    assert not {"PATH", "VOICE_SERVER_TOKEN", "VOICE_SERVER_CACHE", "CUDA_VISIBLE_DEVICES"} & set(spec.command.env)
    assert spec.command.env["HF_HOME"] == "/weights" and spec.load.device == "cuda"
    assert (spec.is_spare, spare.is_spare) == (False, True)


@pytest.mark.parametrize(("gpus", "optimize"), [(1.0, "auto"), (0.5, False)])
def test_workers_that_share_a_gpu_of_a_node_are_not_compiled(gpus: float, optimize: object) -> None:
    (spec,) = far_specs(replace(VOXCPM, resources=Resources(gpus=gpus)), 1)
    assert spec.load.options.get("optimize", "auto") == optimize


def test_what_a_worker_takes_of_a_node_is_told_in_words_of_ray() -> None:
    resources = Resources(cpus=2.0, memory_gib=1.5, custom={"a100": 0.25}, nodes="pack")
    (spec,) = far_specs(replace(VOXCPM, resources=resources), 1)
    assert isinstance(spec.command, FarCommand)
    assert spec.command.packet["room"] == {
        "num_cpus": 2.0,
        "num_gpus": 1.0,
        "memory": 3 * 2**29,
        "resources": {"a100": 0.25},
        "scheduling_strategy": "DEFAULT",
    }
