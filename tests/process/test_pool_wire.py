"""Workers that break the wire, through the whole gateway: each is found out, replaced, and costs the listener nothing.

A breach is found by itself: no limit on silence is short enough to help in these tests.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from tests.evil_worker import BREACHES, CANCELLED, GOOD, LOSSES, PCM
from tests.harness import FAST_WORKER, ask, eventually, read_answer, running_pool, running_server, say, tone_config
from tests.process.pool_driver import (
    Listener,
    evil,
    evil_once,
    first_audio,
    memory_growth,
    only_slot,
    resumes,
    start_of_render,
    submit,
)
from voice_server.core.limits import WorkerLimits
from voice_server.core.settings import BackendConfig

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

WATCHLESS = replace(FAST_WORKER, load_s=60.0, ping_every_s=60.0, first_chunk_s=60.0, chunk_gap_s=60.0)
WATCHFUL = replace(FAST_WORKER, load_s=1.0)
HELLO = {"token": "Hello there.", "done": True}

REASONS = {
    "partial_frame_then_silence": "stopped producing audio",
    "partial_frame_then_exit": "exited with code 0",
    "partial_frame_then_death": "was killed by SIGKILL",
    "partial_frame_then_eof": "closed its connection",
    "never_says_hello": "did not load in time",
    "never_ready": "did not load in time",
    "load_failed_then_silence": "it cannot load",
    "deaf": "stopped producing audio",
    "deaf_with_many_seats": "stopped producing audio",
    "silent_in_render": "stopped producing audio",
    "exit_when_idle": "exited with code 0",
    "eof_but_alive": "closed its connection",
}


def evil_config(limits: WorkerLimits) -> BackendConfig:
    return replace(tone_config(limits=limits), voice="", aliases={}, opts={})


@pytest.mark.parametrize("case", BREACHES)
async def test_w8_whoever_breaks_the_wire_is_replaced_and_its_sentence_goes_on(
    tone_python: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    async with running_server(evil_config(WATCHLESS), tone_python, argv=evil_once(tmp_path, case)) as server:
        answer = await ask(server.ws, HELLO)
        await eventually(lambda: only_slot(server.backend).state == "ready", "there is a worker again")
        assert only_slot(server.backend).restarts == 1
    assert answer.codes == []
    assert answer.audio == (PCM if case == "done_twice" else PCM * 2)  # its first `done` was an honest one
    assert "tone-0 broke the protocol: " in caplog.text


@pytest.mark.parametrize("case", LOSSES)
async def test_w10_whoever_falls_silent_or_leaves_is_replaced_and_its_sentence_goes_on(
    tone_python: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    async with running_server(evil_config(WATCHFUL), tone_python, argv=evil_once(tmp_path, case)) as server:
        answer = await ask(server.ws, HELLO)
        assert only_slot(server.backend).restarts == 1
    assert (answer.codes, answer.audio) == ([], PCM * 2)
    assert resumes(answer) == (case == "silent_in_render")
    assert f"tone-0 {REASONS[case]}" in caplog.text


@pytest.mark.parametrize("case", GOOD)
async def test_w10_an_odd_but_good_worker_is_kept(tone_python: Path, case: str) -> None:
    async with running_server(evil_config(WATCHFUL), tone_python, argv=evil(case)) as server:
        answers = [await ask(server.ws, HELLO) for _ in range(3)]
        assert only_slot(server.backend).restarts == 0
    assert [answer.audio for answer in answers] == [PCM * 2] * 3


@pytest.mark.parametrize("case", CANCELLED)
async def test_w8_audio_of_a_cancelled_render_is_dropped(tone_python: Path, case: str) -> None:
    async with running_server(evil_config(WATCHFUL), tone_python, argv=evil(case)) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": "Hello there.", "flush": True})
            await start_of_render(ws, server)
            assert await first_audio(ws) == PCM
            await say(ws, {"cancel": True, **HELLO})
            old = await read_answer(ws, until="cancelled")
            new = await read_answer(ws)
        assert only_slot(server.backend).restarts == 0
    assert (old.audio, new.audio) == (b"", PCM * 2)


@pytest.mark.parametrize("case", [case for case in BREACHES if case.startswith("length_")])
async def test_w9_a_lying_length_is_found_out_at_once_and_costs_no_memory(
    tone_python: Path, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    limits = replace(WATCHLESS, crash_loop_starts=4, crash_loop_window_s=60.0, probe_s=60.0)
    async with running_pool(evil_config(limits), tone_python, argv=evil(case), wait=False) as backend:
        await eventually(lambda: only_slot(backend).restarts == 1, "it was found out once")
        with memory_growth() as growth_mib:
            await eventually(lambda: only_slot(backend).state == "broken", "it was found out four times")
            grown_mib = growth_mib()
        assert only_slot(backend).detail.startswith("broke the protocol: a frame of ")
    print(f"resident memory grew by {grown_mib:.1f} MiB")
    assert grown_mib < 2


async def test_w11_a_worker_that_does_not_read_is_replaced_when_its_socket_is_full(
    tone_python: Path, tmp_path: Path
) -> None:
    argv = evil_once(tmp_path, "deaf_with_many_seats")
    everyone_in = replace(evil_config(WATCHLESS), scheduling="fifo")
    async with running_pool(everyone_in, tone_python, argv=argv) as backend:
        began_at = time.monotonic()
        listeners = [submit(backend, Listener("x" * 60_000)) for _ in range(20)]
        await eventually(lambda: all(listener.ending for listener in listeners), "everyone is told")
        told_after_s = max(listener.ended_at for listener in listeners) - began_at
        await eventually(lambda: only_slot(backend).state == "ready", "there is a worker again")
        after = submit(backend, Listener())
        await eventually(lambda: after.ending is not None, "it speaks")
    assert {listener.ending for listener in listeners} == {"does not read its commands"}
    assert WATCHLESS.write_s <= told_after_s < WATCHLESS.write_s + 1
    assert after.audio == PCM * 2
