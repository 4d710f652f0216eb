"""Backends that do not load: the reason is told; what only a person can mend is tried once, the rest more slowly."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.harness import FAST_WORKER, ask, eventually, running_pool, running_server, tone_bytes, tone_config
from tests.process.pool_driver import Listener, only_slot, submit
from voice_server.core.errors import BackendUnavailable
from voice_server.core.limits import WorkerLimits
from voice_server.core.settings import BackendConfig
from voice_server.stream.backend import Backend

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

HELLO = {"token": "Hello there.", "done": True}
ONE_TRY = replace(FAST_WORKER, load_s=1.0, crash_loop_starts=1, probe_s=60.0)  # out of order after the first failure


def starts(record: Path) -> list[float]:
    """When each worker began to load its engine."""
    return [float(line) for line in record.read_text().splitlines()]


async def is_in_state(backend: Backend, state: str) -> None:
    await eventually(lambda: only_slot(backend).state == state, f"the slot is {state}")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"load_fault": "config"}, "a scripted configuration error"),
        ({"load_fault": "import"}, "ImportError: No module named 'scripted'"),
        ({"load_fault": "syntax"}, "SyntaxError: scripted"),
        ({"load_fault": "exit78"}, "exited with code 78"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_w12_what_only_a_person_can_mend_is_not_retried(
    tone_python: Path, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    config = tone_config(record=f"{tmp_path}/starts", **options)
    async with running_pool(config, tone_python, wait=False) as backend:
        await is_in_state(backend, "failed")
        with pytest.raises(BackendUnavailable):
            await backend.pool.until_ready()
        assert reason in only_slot(backend).detail
        assert backend.pool.problem == f"tone-0: failed ({only_slot(backend).detail})"
        assert only_slot(backend).restarts == 0
    if "load_fault" in options:
        assert len(starts(tmp_path / "starts")) == 1


async def test_w12_an_adapter_with_a_typing_error_is_named_and_not_retried(tone_python: Path, tmp_path: Path) -> None:
    (tmp_path / "typo.py").write_text("class Typo:\n    def voices(self) return []\n")
    config = replace(tone_config(), adapter=f"{tmp_path}/typo.py:Typo")
    async with running_pool(config, tone_python, wait=False) as backend:
        await is_in_state(backend, "failed")
        assert "SyntaxError" in backend.pool.problem


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"load_fault": "raise"}, "RuntimeError: a scripted failure"),
        ({"load_fault": "oom"}, "CUDA out of memory"),
        ({"load_fault": "die"}, "was killed by SIGKILL, perhaps out of memory"),
        ({"load_fault": "hang"}, "did not load in time"),
    ],
)
async def test_w12_any_other_failure_is_told_and_retried(
    tone_python: Path, tmp_path: Path, options: dict[str, Any], reason: str
) -> None:
    config = tone_config(limits=replace(ONE_TRY, probe_s=0.1), record=f"{tmp_path}/starts", **options)
    async with running_pool(config, tone_python, wait=False) as backend:
        await is_in_state(backend, "broken")
        assert reason in only_slot(backend).detail
        assert backend.pool.problem == f"tone-0: broken ({only_slot(backend).detail})"
        await eventually(lambda: len(starts(tmp_path / "starts")) == 2, "it is tried again")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(None, "No such file or directory"), (0o644, "Permission denied"), (0o755, "Exec format error")],
    ids=["missing", "not_executable", "not_a_program"],
)
async def test_w12_a_python_that_cannot_be_started_is_told_and_retried(
    tmp_path: Path, mode: int | None, reason: str
) -> None:
    python = tmp_path / "python"
    if mode:
        python.write_bytes(b"\0 this is no program")
        python.chmod(mode)
    async with running_pool(tone_config(), python, wait=False) as backend:
        await eventually(lambda: only_slot(backend).restarts >= 1, "it is tried again")
        await eventually(lambda: reason in backend.pool.problem, "the reason is told")


async def test_w12_a_slow_load_is_waited_for(tone_python: Path) -> None:
    config = tone_config(limits=replace(FAST_WORKER, load_s=10.0), load_s=2.0)
    async with running_server(config, tone_python, wait=False) as server:
        answer = await ask(server.ws, HELLO)
        assert only_slot(server.backend).restarts == 0
    assert [told["reason"] for told in answer.of_type("queued")] == ["loading"]
    assert answer.audio == tone_bytes("Hello there.")


async def test_w12_starts_back_off_until_the_slot_is_broken_and_probed(tone_python: Path, tmp_path: Path) -> None:
    record, first_s, jitter = tmp_path / "starts", 0.2, FAST_WORKER.backoff_jitter
    limits = WorkerLimits(backoff_first_s=first_s, backoff_max_s=10.0, crash_loop_window_s=60.0, probe_s=1.0)
    config = tone_config(limits=limits, load_fault="raise", record=str(record))
    async with running_pool(config, tone_python, wait=False) as backend:
        await is_in_state(backend, "broken")
        assert len(starts(record)) == limits.crash_loop_starts
        await eventually(lambda: len(starts(record)) == limits.crash_loop_starts + 1, "it is probed")
    began_at = starts(record)
    gaps_s = [later - earlier for earlier, later in pairwise(began_at)]
    print("between the starts: " + ", ".join(f"{gap_s:.2f} s" for gap_s in gaps_s))
    least_s = [first_s * 2**number * (1 - jitter) for number in range(4)]
    assert all(gap_s >= least for gap_s, least in zip(gaps_s, [*least_s, limits.probe_s], strict=True))


def failing_while(file: Path, limits: WorkerLimits) -> BackendConfig:
    file.touch()
    return tone_config(limits=limits, load_fault=f"while={file};raise")


async def test_w13_a_broken_backend_refuses_at_once(tone_python: Path, tmp_path: Path) -> None:
    config = failing_while(tmp_path / "fault", ONE_TRY)
    async with running_server(config, tone_python, wait=False) as server:
        await is_in_state(server.backend, "broken")
        listener, asked_at = Listener(), time.monotonic()
        submit(server.backend, listener)
        assert isinstance(listener.ending, BackendUnavailable)
        answer = await ask(server.ws, HELLO)
        refused_after_s = time.monotonic() - asked_at
    print(f"refused after {refused_after_s * 1000:.0f} ms, connection and all")
    assert (answer.codes, answer.audio) == (["backend_unavailable"], b"")
    assert answer.messages[-1] == {"type": "done"}
    assert refused_after_s < 1


async def test_w13_who_is_refused_is_told_when_a_broken_backend_is_tried_again(
    tone_python: Path, tmp_path: Path
) -> None:
    config = failing_while(tmp_path / "fault", ONE_TRY)
    async with running_server(config, tone_python, wait=False) as server:
        await is_in_state(server.backend, "broken")
        (error,) = (await ask(server.ws, HELLO)).of_type("error")
        async with httpx.AsyncClient() as client:
            refused = await client.post(f"{server.http}/tts", json={"text": "Hello there."})
    assert refused.status_code == 503
    assert 1 < int(refused.headers["retry-after"]) <= ceil(error["retry_after_s"]) <= ONE_TRY.probe_s


async def test_w13_whoever_waits_is_refused_when_the_backend_breaks(tone_python: Path, tmp_path: Path) -> None:
    config = failing_while(tmp_path / "fault", ONE_TRY)
    async with running_server(config, tone_python, wait=False) as server:
        assert not server.backend.pool.is_ready
        answer = await ask(server.ws, HELLO)
    assert answer.codes == ["backend_unavailable"]


async def test_w13_a_broken_backend_recovers_by_a_probe_when_its_fault_is_mended(
    tone_python: Path, tmp_path: Path
) -> None:
    fault = tmp_path / "fault"
    config = failing_while(fault, replace(ONE_TRY, probe_s=0.3))
    async with running_server(config, tone_python, wait=False) as server:
        await is_in_state(server.backend, "broken")
        fault.unlink()
        await is_in_state(server.backend, "ready")
        assert server.backend.pool.problem == ""
        answer = await ask(server.ws, HELLO)
    assert (answer.codes, answer.audio) == ([], tone_bytes("Hello there."))


async def test_w13_a_broken_backend_leaves_another_one_alone(tone_python: Path, tmp_path: Path) -> None:
    broken = failing_while(tmp_path / "fault", replace(ONE_TRY, probe_s=0.05))  # always busy with failing
    async with (
        running_pool(broken, tone_python, wait=False) as other,
        running_server(tone_config(), tone_python) as fine,
    ):
        for _ in range(5):
            assert (await ask(fine.ws, HELLO)).audio == tone_bytes("Hello there.")
        await eventually(lambda: only_slot(other).restarts >= 2, "the other one goes on failing")
