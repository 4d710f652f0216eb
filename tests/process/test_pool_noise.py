"""Engines that print, flood, or speak without end: the audio stays whole, our log readable, our memory small."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.harness import FAST, FAST_WORKER, ask, running_server, tone_bytes, tone_config
from tests.process.pool_driver import memory_growth, only_slot, resumes

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

TEXT = "This one makes a lot of noise."
PATIENT = replace(FAST_WORKER, first_chunk_s=30.0, chunk_gap_s=30.0)
CAPPED = replace(FAST, stream=replace(FAST.stream, sentence_min_s=2.0, seconds_per_char=0.0))

NOISY = """
import os
import numpy as np

class Noisy:
    sample_rate = 24000

    def __init__(self, device):
        pass

    def voices(self):
        return ["v"]

    def render(self, text, voice):
        os.write(2, b"\\x1b[31mred\\x1b[2J \\0 \\xff\\xfe \\r" + b"=" * 1_000_000 + b"\\n")
        os.write(2, b"a line\\n" * 100_000)
        yield np.full(2400, 0.5, np.float32)
"""


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What of the workers' words is in our log."""
    return [record.getMessage() for record in caplog.records if record.name == "voice_server.worker"]


async def test_w6_200_mb_of_stderr_in_one_endless_line_cost_neither_audio_nor_memory(tone_python: Path) -> None:
    async with running_server(tone_config(limits=PATIENT), tone_python) as server:
        await ask(server.ws, {"opts": {"fault": "stderr:1"}}, {"token": TEXT, "done": True})
        with memory_growth() as growth_mib:
            read_before = psutil.Process().io_counters().read_chars
            answer = await ask(server.ws, {"opts": {"fault": "stderr@2:200"}}, {"token": TEXT, "done": True})
            assert psutil.Process().io_counters().read_chars - read_before > 200_000_000
            grown_mib = growth_mib()
        assert only_slot(server.backend).restarts == 0
    print(f"resident memory grew by {grown_mib:.1f} MiB")
    assert answer.audio == tone_bytes(TEXT)
    assert resumes(answer) == 0
    assert grown_mib < 5


async def test_w6_a_flood_does_not_stop_its_worker_at_each_pipe_that_a_busy_gateway_has_not_read(
    tone_python: Path,
) -> None:
    """Counted in turns of the event loop, each of which is long enough for the worker to fill the pipe."""
    turns = 0

    async def be_busy() -> None:
        nonlocal turns
        while True:
            time.sleep(0.02)  # noqa: ASYNC251 - this is the load
            await asyncio.sleep(0)
            turns += 1

    async with running_server(tone_config(limits=PATIENT), tone_python) as server:
        busy = asyncio.create_task(be_busy())
        await ask(server.ws, {"token": TEXT, "done": True})
        quiet_turns, turns = turns, 0
        await ask(server.ws, {"opts": {"fault": "stderr@0:20"}}, {"token": TEXT, "done": True})
        busy.cancel()
    print(f"{turns} turns of the loop, {quiet_turns} without the flood")
    assert turns - quiet_turns < 20_000_000 / 65_536 / 2


async def test_w6_lines_are_escaped_cut_and_counted(
    tone_python: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    config = replace(tone_config(limits=PATIENT), adapter=f"{tmp_path}/noisy.py:Noisy", voice="", opts={})
    caplog.set_level(logging.INFO, "voice_server.worker")
    async with running_server(config, tone_python) as server:
        answer = await ask(server.ws, {"token": TEXT, "done": True})
    lines = said(caplog)
    assert len(answer.audio) == 4800
    assert all(line.isprintable() for line in lines)
    assert lines[0].startswith("tone-0: \\x1b[31mred\\x1b[2J \\x00 \\xff\\xfe \\x0d====")
    assert len(lines[0]) < 4 * PATIENT.log_line_bytes
    assert 2 < len(lines) < 1000  # 50 in a second, and the flood lasts about one


async def test_w7_what_an_engine_prints_is_logged_and_leaves_the_frames_intact(
    tone_python: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "voice_server.worker")
    async with running_server(tone_config(limits=PATIENT), tone_python) as server:
        answer = await ask(server.ws, {"opts": {"fault": "print@2:1"}}, {"token": TEXT, "done": True})
        assert only_slot(server.backend).restarts == 0
    assert answer.audio == tone_bytes(TEXT)
    assert "tone-0: an engine that prints" in said(caplog)[0]


async def test_w17_a_babbling_engine_is_stopped_at_the_cap_and_its_worker_is_used_again(tone_python: Path) -> None:
    async with running_server(tone_config(speed_rtf=0.01), tone_python, limits=CAPPED) as server:
        pid = only_slot(server.backend).pid
        answer = await ask(server.ws, {"opts": {"fault": "babble"}}, {"token": TEXT, "done": True})
        after = await ask(server.ws, {"token": TEXT, "done": True})
        assert (only_slot(server.backend).pid, only_slot(server.backend).restarts) == (pid, 0)
    assert answer.codes == ["runaway"]
    assert answer.audio == tone_bytes(TEXT, seconds_per_char=1.0)[: len(answer.audio)]
    assert 2.0 <= len(answer.audio) / 48_000 <= 2.1
    assert after.audio == tone_bytes(TEXT)


@pytest.mark.parametrize("fault", ["babble", "hush"])
async def test_w17_the_sentence_after_an_endless_one_is_spoken(tone_python: Path, tmp_path: Path, fault: str) -> None:
    """Also where as much of it was made as is ever made ahead, and all of that was held back."""
    config = tone_config(fault=f"once={tmp_path}/struck;{fault}")
    limits = replace(CAPPED, stream=replace(CAPPED.stream, ahead_s=CAPPED.stream.sentence_min_s / 2))
    async with running_server(config, tone_python, limits=limits) as server:
        answer = await ask(server.ws, {"token": f"{TEXT} Hello there.", "done": True})
    assert answer.codes == ["runaway"]
    assert answer.sentences[1] == tone_bytes("Hello there.")
