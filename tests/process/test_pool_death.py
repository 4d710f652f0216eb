"""Workers that die: every byte is heard once all the same, nobody else notices, and nothing is left of the dead."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import websockets

from tests.harness import (
    FAST,
    RunningServer,
    ask,
    eventually,
    read_answer,
    running_pool,
    running_server,
    say,
    tone_bytes,
    tone_config,
)
from tests.process.pool_driver import (
    HARDY_WORKER,
    Listener,
    all_ready,
    first_audio,
    only_slot,
    resumes,
    start_of_render,
    submit,
)
from voice_server.wire.messages import Failed

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

VICTIM = "This is the one who dies."
OTHERS = ("The first bystander.", "Here is the second one.", "And a third.")
FORGIVING = replace(FAST, stream=replace(FAST.stream, poisoned_s=0.0))  # an address is charged with nothing
CHUNK_BYTES = 24 * 80 * 2  # 80 ms, the chunk of the tone backend

# Wants more memory than there is at its first render.
HUNGRY = """
import pathlib, resource
from voice_server.backends.tone import ToneBackend

class Hungry(ToneBackend):
    def __init__(self, device, once, **options):
        super().__init__(device, **options)
        self._once = pathlib.Path(once)

    def render(self, text, voice, **options):
        if not self._once.exists():
            self._once.touch()
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            bytearray(8 << 30)
        yield from super().render(text, voice, **options)
"""


async def test_w1_a_kill_at_any_moment_leaves_no_trace_in_any_stream(tone_python: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    moments = [0.0, 1.0, *(dice.random() for _ in range(12))]  # as a part of the victim's audio
    retries = []
    async with running_server(tone_config(workers=4, limits=HARDY_WORKER, speed_rtf=0.3), tone_python) as server:
        for moment in moments:
            asking = [asyncio.create_task(ask(server.ws, {"token": text, "done": True})) for text in OTHERS]
            retries.append(await _kill_while_it_speaks(server, moment))
            assert [(await task).audio for task in asking] == [tone_bytes(text) for text in OTHERS]
    print(f"retries {retries}")
    assert retries[0] == 1
    assert sum(retries) > len(moments) / 2  # the others had been rendered already


async def _kill_while_it_speaks(server: RunningServer, moment: float) -> int:
    """Kill the worker when this part of the audio was heard. Returns the retries."""
    expected = tone_bytes(VICTIM)
    async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
        await say(ws, {"token": VICTIM, "done": True})
        pid = await start_of_render(ws, server)
        heard = await first_audio(ws, int(moment * len(expected)))
        os.kill(pid, signal.SIGKILL)
        rest = await read_answer(ws)
    assert heard + rest.audio == expected
    assert rest.messages[-1] == {"type": "done"}
    retries = len(rest.of_type("generating"))
    assert resumes(rest) <= retries <= 1
    await all_ready(server.backend, without=pid)
    return retries


async def test_w1_the_stream_hears_of_a_death_at_once(tone_python: Path) -> None:
    delays_s = []
    async with running_pool(tone_config(limits=HARDY_WORKER, speed_rtf=1.0), tone_python) as backend:
        for _ in range(5):
            listener = submit(backend, Listener(VICTIM))
            await eventually(lambda: bool(listener.audio), "it speaks")  # noqa: B023  # awaited within its round
            pid, killed_at = only_slot(backend).pid, time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: listener.ending is not None, "the death is told")  # noqa: B023
            assert listener.ending == "was killed by SIGKILL, perhaps out of memory"
            delays_s.append(listener.ended_at - killed_at)
            await all_ready(backend, without=pid)
    print("from kill to on_lost: " + ", ".join(f"{delay_s * 1000:.2f} ms" for delay_s in delays_s))
    assert max(delays_s) < 0.5


async def test_w15_a_worker_without_memory_left_fails_its_render_and_nothing_else(
    tone_python: Path, tmp_path: Path
) -> None:
    """Linux gives memory until there is none; under a limit an engine is told so, as by CUDA, and may try again."""
    adapter = tmp_path / "hungry.py"
    adapter.write_text(HUNGRY)
    config = replace(tone_config(once=f"{tmp_path}/eaten"), adapter=f"{adapter}:Hungry")
    async with running_pool(config, tone_python) as backend:
        pid = only_slot(backend).pid
        first, again = (submit(backend, Listener(VICTIM)) for _ in range(2))
        await eventually(lambda: bool(first.ending and again.ending), "both have ended")
        assert only_slot(backend).pid == pid
    assert isinstance(first.ending, Failed)
    assert (first.ending.code, first.ending.retryable) == ("out_of_memory", True)
    assert again.audio == tone_bytes(VICTIM)


async def test_w2_a_kill_of_all_workers_at_once_loses_no_stream(tone_python: Path) -> None:
    texts = [f"This is what stream {number} says. {OTHERS[number % 3]}" for number in range(16)]
    async with running_server(tone_config(workers=4, limits=HARDY_WORKER, speed_rtf=0.05), tone_python) as server:
        for _ in range(3):
            asking = [asyncio.create_task(ask(server.ws, {"token": text, "done": True})) for text in texts]
            await eventually(
                lambda: all(slot.open_renders for slot in server.backend.pool.slots), "all workers are busy"
            )
            pids = [slot.pid for slot in server.backend.pool.slots]
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            answers = [await task for task in asking]
            assert [answer.codes for answer in answers] == [[]] * 16
            assert [answer.audio for answer in answers] == [
                tone_bytes(text[: text.index(".") + 1], text[text.index(".") + 2 :]) for text in texts
            ]
            assert all(answer.messages[-1] == {"type": "done"} for answer in answers)
            for pid in pids:
                await all_ready(server.backend, without=pid)


async def test_w3_a_sentence_that_kills_two_workers_fails_alone_and_the_next_follows(tone_python: Path) -> None:
    async with running_server(tone_config(limits=HARDY_WORKER), tone_python) as server:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"opts": {"fault": "die@2"}, "token": VICTIM, "flush": True})
            first = await read_answer(ws, until="error")
            await say(ws, {"opts": {}, "token": OTHERS[0], "done": True})
            rest = await read_answer(ws)
        assert only_slot(server.backend).restarts == 2
    assert first.codes == ["sentence_failed"]
    assert first.audio == tone_bytes(VICTIM)[: 2 * CHUNK_BYTES]
    assert len(first.of_type("generating")) == 2
    assert (rest.codes, rest.audio) == ([], tone_bytes(OTHERS[0]))


@pytest.mark.parametrize("text", [f"{VICTIM} {VICTIM} {VICTIM}", f"{VICTIM} {VICTIM}"], ids=["amid", "last"])
async def test_w3_a_stream_of_two_such_sentences_is_poisoned_and_the_pool_recovers(
    tone_python: Path, text: str
) -> None:
    async with running_server(tone_config(limits=HARDY_WORKER), tone_python) as server:
        answer = await ask(server.ws, {"opts": {"fault": "die@2"}}, {"token": text, "done": True})
        after = await ask(server.ws, {"token": OTHERS[0], "done": True})
        assert only_slot(server.backend).state == "ready"
    assert answer.codes == ["sentence_failed", "poisoned"]
    assert answer.close_code == 1011
    assert answer.audio == tone_bytes(VICTIM)[: 2 * CHUNK_BYTES] * 2
    assert after.audio == tone_bytes(OTHERS[0])


async def test_w3_text_that_kills_again_and_again_cannot_break_the_backend(tone_python: Path) -> None:
    limits = replace(HARDY_WORKER, crash_loop_starts=5, crash_loop_window_s=600.0)
    async with running_server(tone_config(workers=2, limits=limits), tone_python, limits=FORGIVING) as server:
        for _ in range(5):
            answer = await ask(server.ws, {"opts": {"fault": "die@2"}, "token": VICTIM, "done": True})
            assert answer.codes == ["sentence_failed"]
        await all_ready(server.backend, without=0)
        assert sum(slot.restarts for slot in server.backend.pool.slots) == 10


async def test_w3_each_stream_of_an_address_that_keeps_killing_is_closed_at_once_and_others_are_not(
    tone_python: Path,
) -> None:
    deadly = {"opts": {"fault": "die@2"}, "token": VICTIM, "done": True}
    async with running_server(tone_config(limits=HARDY_WORKER), tone_python) as server:
        codes = [(await ask(server.ws, deadly)).codes for _ in range(3)]
        after = await ask(server.ws, {"token": OTHERS[0], "done": True})
    assert codes == [["sentence_failed"], ["poisoned"], ["poisoned"]]
    assert (after.codes, after.audio) == ([], tone_bytes(OTHERS[0]))


async def test_w3_sentences_that_die_side_by_side_poison_their_stream_once(tone_python: Path) -> None:
    async with running_server(tone_config(workers=3, limits=HARDY_WORKER), tone_python) as server:
        answer = await ask(
            server.ws, {"opts": {"fault": "die@2"}, "token": f"{VICTIM} {VICTIM} {VICTIM}", "done": True}
        )
        after = await ask(server.ws, {"token": OTHERS[0], "done": True})
    assert answer.codes[-1] == "poisoned"
    assert answer.codes.count("poisoned") == 1
    assert answer.close_code == 1011
    assert after.audio == tone_bytes(OTHERS[0])


async def test_w3_a_sentence_is_tried_again_while_its_successors_go_on(tone_python: Path, tmp_path: Path) -> None:
    text, fault = f"{VICTIM} {OTHERS[0]} {OTHERS[1]}", f"once={tmp_path}/struck;die@2"
    async with running_server(tone_config(workers=3, fault=fault), tone_python) as server:
        answer = await ask(server.ws, {"token": text, "done": True})
    assert sorted({told["index"] for told in answer.of_type("generating")}) == [0, 1, 2]
    assert len(answer.of_type("generating")) == 4
    assert answer.audio == tone_bytes(VICTIM, *OTHERS[:2])


async def test_w14_an_engine_that_is_gone_is_replaced_and_its_sentence_goes_on(
    tone_python: Path, tmp_path: Path
) -> None:
    async with running_server(tone_config(fault=f"once={tmp_path}/struck;fatal@2"), tone_python) as server:
        answer = await ask(server.ws, {"token": VICTIM, "done": True})
        assert only_slot(server.backend).restarts == 1
    assert (answer.codes, answer.audio) == ([], tone_bytes(VICTIM))
    assert resumes(answer) == 1


async def test_w14_an_engine_out_of_memory_is_asked_once_more_and_kept(tone_python: Path, tmp_path: Path) -> None:
    async with running_pool(tone_config(), tone_python) as backend:
        pid = only_slot(backend).pid
        listener = submit(backend, Listener(VICTIM, fault=f"once={tmp_path}/struck;oom@1"))
        await eventually(lambda: listener.ending is not None, "it fails")
        again = submit(backend, Listener(VICTIM, fault=f"once={tmp_path}/struck;oom@1"))
        await eventually(lambda: again.ending is not None, "it speaks")
        assert only_slot(backend).pid == pid
    assert isinstance(listener.ending, Failed)
    assert (listener.ending.code, listener.ending.retryable) == ("out_of_memory", True)
    assert again.audio == tone_bytes(VICTIM)


async def test_w16_a_worker_is_missed_at_once_although_its_child_holds_its_pipes(tone_python: Path) -> None:
    async with running_pool(tone_config(limits=HARDY_WORKER, speed_rtf=1.0), tone_python) as backend:
        listener = submit(backend, Listener(VICTIM, fault="spawn@1"))
        worker = psutil.Process(only_slot(backend).pid)
        await eventually(lambda: bool(worker.children()), "it has a child")
        (child,) = worker.children()
        killed_at = time.monotonic()
        worker.kill()
        await eventually(lambda: listener.ending is not None, "the death is told")
        await eventually(lambda: not child.is_running(), "the child is gone, too")
        await all_ready(backend, without=worker.pid)
    assert listener.ended_at - killed_at < 0.5


async def test_w16_a_stop_leaves_no_children_of_workers(tone_python: Path) -> None:
    async with running_pool(tone_config(), tone_python) as backend:
        listener = submit(backend, Listener(VICTIM, fault="spawn@1"))
        await eventually(lambda: listener.ending is not None, "it speaks")
        (child,) = psutil.Process(only_slot(backend).pid).children()
    await eventually(lambda: not child.is_running(), "the child is gone")
    assert listener.audio == tone_bytes(VICTIM)
