from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from voice_server.core.limits import WorkerLimits
from voice_server.core.reload import refusals
from voice_server.core.settings import BackendConfig, Config, VenvSpec

HIBARI = BackendConfig("hibari", "a:B")
TONE = BackendConfig("tone", "c:D")


def config(*backends: BackendConfig) -> Config:
    return Config(Path("backends.yaml"), "auto", {backend.name: backend for backend in backends})


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 3},
        {"spares": 1},
        {"adapter": "e:F"},
        {"options": {"threads": 2}},
        {"venv": VenvSpec(python=">=3.12")},
        {"limits": WorkerLimits(load_s=1.0)},
        {"voice": "heart", "pause_s": 0.5},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_what_makes_workers_and_what_clients_may_say_can_change(changes: dict[str, Any]) -> None:
    assert refusals([HIBARI, TONE], config(replace(HIBARI, **changes), TONE)) == []


def test_what_does_not_run_may_come_and_go() -> None:
    assert refusals([TONE], config(TONE, HIBARI)) == []


@pytest.mark.parametrize("changes", [{"kind": "stt"}, {"scheduling": "fifo"}, {"placement": "ray"}], ids=str)
def test_what_stands_before_the_workers_cannot_change(changes: dict[str, Any]) -> None:
    (problem,) = refusals([HIBARI], config(replace(HIBARI, **changes)))
    assert problem == f"{next(iter(changes))} of the backend hibari changed; that needs a restart of the server"


def test_a_backend_that_runs_cannot_go() -> None:
    (problem,) = refusals([HIBARI, TONE], config(HIBARI))
    assert problem == "the backend tone runs and is gone from the file; that needs a restart of the server"
