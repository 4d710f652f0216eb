"""While renders run: cancels, pings, whose turn it is, silence; and how a worker ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.process.worker_driver import (
    BOOTSTRAP,
    TEXT,
    TONE,
    Worker,
    adapter_class,
    adapter_file,
    expected,
    is_gone,
    loaded,
    poll,
    started,
)
from voice_server.wire.messages import (
    Audio,
    Cancel,
    Cancelled,
    Capacity,
    Deadline,
    Done,
    Failed,
    Load,
    Ping,
    Pong,
    Progress,
    Render,
    Stop,
)

SLOW: dict[str, Any] = {"speed_rtf": 1.0, "seconds_per_char": 1.0}  # 80 ms of work per chunk, and enough of them


# While a render runs


def first_audio(worker: Worker, text: str = TEXT, render_id: int = 1, **options: object) -> None:
    worker.say(Render(render_id, text, "", dict(options)))
    assert isinstance(worker.hear(), Audio)


def ends(worker: Worker, count: int) -> list[int]:
    """The next renders that are done, in their order."""
    done: list[int] = []
    while len(done) < count:
        message = worker.hear()
        if isinstance(message, Done):
            done.append(message.render_id)
    return done


def test_a_cancel_takes_effect_within_a_chunk() -> None:
    with loaded(**SLOW) as worker:
        first_audio(worker)
        begin = time.monotonic()
        worker.say(Cancel(1))
        assert worker.hear() == Cancelled(1)
        assert time.monotonic() - begin < 1.0  # the whole render takes 44 s
        worker.say(Render(2, "x", ""))
        assert isinstance(worker.hear(), Audio)


def test_an_engine_that_is_slow_to_let_go_delays_only_the_word_of_it() -> None:
    with loaded(**SLOW) as worker:
        first_audio(worker, fault="ignore_cancel:0.3")
        begin = time.monotonic()
        worker.say(Cancel(1))
        assert worker.hear() == Cancelled(1)
        assert time.monotonic() - begin >= 0.3


def test_a_cancel_that_crosses_the_end_is_ignored() -> None:
    with loaded() as worker:
        worker.say(Render(1, TEXT, ""))
        worker.say(Cancel(1))
        assert isinstance(worker.hear_render()[1], (Done, Cancelled))
        assert worker.render(TEXT, render_id=2)[0] == expected()


def test_a_ping_is_answered_while_the_engine_is_busy() -> None:
    with loaded() as worker:
        worker.say(Render(1, TEXT, "", {"fault": "hang@0"}))
        worker.say(Ping(5))
        assert worker.hear() == Pong(5)


def test_a_worker_that_holds_the_gil_answers_late_and_loses_nothing() -> None:
    with loaded() as worker:
        worker.say(Render(1, TEXT, "", {"fault": "hang_gil@0:0.5"}))
        worker.say(Ping(5))
        messages = [worker.hear()]
        while not isinstance(messages[-1], Done):
            messages.append(worker.hear())
        assert Pong(5) in messages
        assert b"".join(message.pcm for message in messages if isinstance(message, Audio)) == expected()


def test_open_renders_are_stepped_by_their_deadlines() -> None:
    with loaded(capacity=3, speed_rtf=0.1) as worker:
        for render_id, due_in_s in ((1, 30.0), (2, 20.0), (3, 10.0)):
            worker.say(Render(render_id, TEXT, "", {}, due_in_s))
        assert ends(worker, 3) == [3, 2, 1]


def test_a_new_deadline_changes_whose_turn_it_is() -> None:
    with loaded(capacity=2, **SLOW) as worker:
        worker.say(Render(1, TEXT, "", {}, 10.0))
        worker.say(Render(2, TEXT, "", {}, 20.0))
        assert isinstance(audio := worker.hear(), Audio)
        assert audio.render_id == 1
        worker.say(Deadline(2, 1.0))
        heard = {audio.render_id for audio in [worker.hear() for _ in range(3)] if isinstance(audio, Audio)}
        assert 2 in heard


def test_pace_says_how_far_a_second_of_audio_moves_a_deadline() -> None:
    for pace, order in ((1.0, [1, 2]), (100.0, [2, 1])):
        with loaded(capacity=2, speed_rtf=0.1) as worker:
            worker.say(Render(1, TEXT, "", {}, 0.0, pace=pace))
            worker.say(Render(2, TEXT, "", {}, 5.0))
            assert ends(worker, 2) == order


def test_renders_that_take_turns_do_not_mix_their_audio() -> None:
    with loaded(capacity=3, speed_rtf=0.05) as worker:
        for render_id, voice in enumerate(["tone", "low", "high"]):
            worker.say(Render(render_id, TEXT, voice, {}, 0.0))
        pcm, ends = {0: b"", 1: b"", 2: b""}, 0
        while ends < 3:
            message = worker.hear()
            if isinstance(message, Audio):
                pcm[message.render_id] += message.pcm
            ends += isinstance(message, Done)
        assert pcm == {0: expected(voice="tone"), 1: expected(voice="low"), 2: expected(voice="high")}


def test_an_engine_that_finds_less_memory_says_so_once_and_goes_on_with_what_it_has() -> None:
    with loaded(capacity=3, speed_rtf=0.05) as worker:
        for render_id in range(3):
            worker.say(Render(render_id, TEXT, "", {"fault": "shrink@1:2"} if render_id == 0 else {}))
        pcm, told = {0: b"", 1: b"", 2: b""}, []
        while sum(isinstance(message, Done) for message in told) < 3:
            told.append(worker.hear())
            if isinstance(told[-1], Audio):
                pcm[told[-1].render_id] += told[-1].pcm
        assert [message for message in told if isinstance(message, Capacity)] == [Capacity(2)]
        assert pcm == {0: expected(), 1: expected(), 2: expected()}


# An engine that works in silence

SILENT = """
    import time
    class A:
        sample_rate = 16000
        capacity = 2
        def __init__(self, device): pass
        def voices(self): return ["v"]
        def render(self, text, voice):
            while text == "silence":
                time.sleep(0.02)
                yield np.zeros(0, np.float32)
            yield np.ones(8, np.float32)
"""


def test_an_engine_that_has_nothing_to_say_yet_shows_that_it_lives(tmp_path: Path) -> None:
    with loaded(adapter_file(tmp_path, SILENT) + ":A") as worker:
        begin = time.monotonic()
        worker.say(Render(1, "silence", ""))
        assert isinstance(worker.hear(), Progress)
        assert time.monotonic() - begin > 0.9
        assert isinstance(worker.hear(), Progress)
        worker.say(Cancel(1))
        assert worker.hear() == Cancelled(1)


def test_an_engine_that_has_nothing_to_say_gives_way_to_who_runs_dry_and_to_nobody_else(tmp_path: Path) -> None:
    with loaded(adapter_file(tmp_path, SILENT) + ":A") as worker:
        worker.say(Render(1, "silence", ""))
        worker.say(Render(2, "words", "", {}, 60.0))
        assert isinstance(worker.hear(), Progress)
        worker.say(Deadline(2, 0.2))
        assert isinstance(audio := worker.hear(), Audio)
        assert audio.render_id == 2


def test_a_render_that_is_silent_for_ever_fails_alone_and_the_turns_of_others_do_not_count(tmp_path: Path) -> None:
    impatient = SILENT.replace(
        "import time\n", "import time\n    import voice_server.worker.host as host\n    host._SILENT_S = 0.5\n"
    )
    with loaded(adapter_file(tmp_path, impatient) + ":A") as worker:
        worker.say(Render(1, "silence", ""))
        worker.say(Render(2, "words", "", {}, 60.0))
        while not isinstance(message := worker.hear(), Failed):
            assert isinstance(message, Progress)
        assert (message.render_id, message.code) == (1, "render_failed")
        assert "no sound in 0.5 s of work" in message.message
        assert isinstance(audio := worker.hear(), Audio)
        assert audio.render_id == 2


# The end


def test_stop_closes_open_renders_and_exits_cleanly() -> None:
    with loaded(**SLOW) as worker:
        first_audio(worker)
        worker.say(Stop())
        assert worker.exit_code() == 0


def test_stop_does_not_wait_for_a_load() -> None:
    with started() as worker:
        worker.hear()
        worker.say(Load(TONE, "cpu", {"load_fault": "hang"}))
        assert worker.hear() == Progress("importing")
        worker.say(Stop())
        assert worker.exit_code() == 0


def test_a_worker_whose_gateway_closed_the_wire_dies_with_its_grandchildren() -> None:
    with loaded() as worker:
        worker.render(TEXT, fault="spawn@0")
        grandchildren = psutil.Process(worker.process.pid).children(recursive=True)
        assert grandchildren
        worker.sock.close()
        assert worker.exit_code() == -signal.SIGKILL
        poll(lambda: all(is_gone(grandchild.pid) for grandchild in grandchildren))


def test_an_engine_that_exits_takes_the_worker_along_though_a_thread_of_its_is_left(tmp_path: Path) -> None:
    render = "import sys, threading, time; threading.Thread(target=time.sleep, args=[60]).start(); sys.exit('enough')"
    with loaded(adapter_class(tmp_path, render)) as worker:
        worker.say(Render(1, "x", ""))
        assert worker.exit_code() == 1
        assert "enough" in worker.log


def test_a_message_that_breaks_the_rules_ends_the_worker() -> None:
    with loaded() as worker:
        worker.sock.sendall(b"\xff\xff\xff\xff")
        assert worker.exit_code() == 76


def test_a_stack_dump_is_written_on_sigusr2() -> None:
    with loaded() as worker:
        worker.say(Render(1, TEXT, "", {"fault": "hang@0"}))

        def dump_shows_the_engine() -> bool:
            worker.process.send_signal(signal.SIGUSR2)  # again: an early one finds the main thread on its way there
            return "in _hang" in worker.log

        poll(dump_shows_the_engine)


def test_an_interrupt_from_the_keyboard_is_not_for_a_worker() -> None:
    with loaded() as worker:
        worker.process.send_signal(signal.SIGINT)
        assert worker.render(TEXT)[0] == expected()


GATEWAY = """
import os, socket, subprocess, sys, time
ours, theirs = socket.socketpair()
command = [sys.executable, "-I", sys.argv[1], str(theirs.fileno()), str(os.getpid())]
worker = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
assert ours.recv(1)  # its hello: it is past prctl
print(worker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG")
@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_worker_does_not_outlive_its_gateway_even_when_stopped(is_stopped: bool) -> None:
    command = [sys.executable, "-c", GATEWAY, str(BOOTSTRAP)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        if is_stopped:
            os.kill(pid, signal.SIGSTOP)
        gateway.kill()
        gateway.wait()
        poll(lambda: is_gone(pid), patience_s=1.0)


def test_a_worker_that_starts_after_its_gateways_death_leaves_at_once() -> None:
    command = [sys.executable, "-I", str(BOOTSTRAP), "0", "1"]  # its parent is not process 1
    process = subprocess.run(command, start_new_session=True, timeout=20, check=False)
    assert process.returncode == -signal.SIGKILL
