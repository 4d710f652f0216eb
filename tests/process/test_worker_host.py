from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import voice_server
from tests.process.worker_driver import BOOTSTRAP, TONE, Worker, is_gone, loaded, poll, started
from voice_server.backends.tone import tone_pcm
from voice_server.wire.messages import (
    Audio,
    Cancel,
    Cancelled,
    Deadline,
    Done,
    Failed,
    Hello,
    Load,
    LoadFailed,
    Ping,
    Pong,
    Progress,
    Ready,
    Render,
    Stop,
)
from voice_server.worker.pcm import to_pcm

TEXT = "The quick brown fox jumps over the lazy dog."
SLOW: dict[str, Any] = {"speed_rtf": 1.0, "seconds_per_char": 1.0}  # 80 ms of work per chunk, and enough of them


def expected(text: str = TEXT, voice: str = "tone", **options: float) -> bytes:
    return to_pcm(tone_pcm(text, voice, **options))  # type: ignore[arg-type]


def adapter_file(folder: Path, source: str, name: str = "adapter.py") -> str:
    path = folder / name
    path.write_text("import numpy as np\n" + textwrap.dedent(source))
    return str(path)


def adapter_class(folder: Path, render: str, extra: str = "") -> str:
    source = f"""
    class A:
        sample_rate = 16000
        def __init__(self, device): pass
        def voices(self): return ["v"]
        def render(self, text, voice, **options):
            {render}
    {extra}
    """
    return adapter_file(folder, source) + ":A"


# Loading


def test_a_worker_greets_reports_its_progress_and_is_ready() -> None:
    with started() as worker:
        hello = worker.hear()
        assert hello == Hello(1, worker.process.pid, ".".join(map(str, sys.version_info[:3])))
        worker.say(Load(TONE, "cpu", {"capacity": 3, "sample_rate": 16000}, "Warm up."))
        said = [worker.hear() for _ in range(4)]
        assert said == [
            *(Progress("importing"), Progress("loading"), Progress("warming up")),
            Ready(16000, 3, ["tone", "low", "high"], True),
        ]


@pytest.mark.parametrize(
    ("options", "words", "retryable"),
    [
        ({"load_fault": "raise"}, "RuntimeError: a scripted failure", True),
        ({"load_fault": "oom"}, "out of memory", True),
        ({"load_fault": "config"}, "a scripted configuration error", False),
        ({"load_fault": "import"}, "ImportError", False),
        ({"load_fault": "syntax"}, "SyntaxError", False),
        ({"no_such_option": 1}, "no_such_option", False),
        ({"capacity": 0}, "capacity", False),
        ({"capacity": "many"}, "capacity", False),
        ({"sample_rate": 1}, "sample_rate", False),
        ({"warmup_text": "Hi.", "fault": "empty"}, "no audio", True),
    ],
    ids=str,
)
def test_a_failed_load_says_why_and_whether_another_try_may_help(
    options: dict[str, object], words: str, retryable: bool
) -> None:
    with started() as worker:
        answer = worker.load(**options)  # type: ignore[arg-type]
        assert isinstance(answer, LoadFailed)
        assert words in answer.message
        assert answer.retryable is retryable
        assert worker.exit_code() == (1 if retryable else 78)


@pytest.mark.parametrize(
    "adapter",
    ["no_such_module:A", "/no/such/file.py", "json:NoSuchClass", "json", "voice_server.backends.tone"],
)
def test_an_adapter_that_is_not_there_is_a_configuration_error(adapter: str) -> None:
    with started() as worker:
        answer = worker.load(adapter)
        assert isinstance(answer, LoadFailed)
        assert not answer.retryable


def test_an_adapter_with_a_typing_error_is_a_configuration_error(tmp_path: Path) -> None:
    with started() as worker:
        answer = worker.load(adapter_file(tmp_path, "def broken(:"))
        assert isinstance(answer, LoadFailed)
        assert "SyntaxError" in answer.message
        assert not answer.retryable


def test_a_constructor_may_report_its_progress(tmp_path: Path) -> None:
    source = """
    class A:
        sample_rate = 16000
        def __init__(self, device, progress): progress("reading\\n weights")
        def voices(self): return ["v"]
        def render(self, text, voice): yield np.ones(8, np.float32)
    """
    with started() as worker:
        worker.hear()
        worker.say(Load(adapter_file(tmp_path, source) + ":A", "cpu"))
        assert [worker.hear() for _ in range(3)][2] == Progress("reading weights")


def test_a_module_in_the_style_of_the_original_is_an_adapter_and_sees_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("RATE = 22050")
    source = """
    import neighbour
    def list_voices(): return ["ann", "bob"]
    def get_sample_rate(): return neighbour.RATE
    def stream(text, voice, level=0.1): yield np.full(100, level * len(voice), np.float32)
    """
    with started() as worker:
        answer = worker.load(adapter_file(tmp_path, source), level=0.2)
        assert answer == Ready(22050, 1, ["ann", "bob"])
        assert worker.render("x", "bob")[0] == to_pcm(np.full(100, 0.2 * 3, np.float32))
        assert worker.render("x", "bob", level=0.3)[0] == to_pcm(np.full(100, 0.3 * 3, np.float32))


def test_a_worker_cannot_import_what_lies_beside_the_gateway(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    shutil.copytree(Path(voice_server.__file__).parent, site / "voice_server")
    (site / "like_starlette.py").touch()
    adapter = adapter_file(tmp_path, "import voice_server.backends.tone, like_starlette")
    with started(str(site / "voice_server" / "worker" / "bootstrap.py")) as worker:
        answer = worker.load(adapter)
        assert isinstance(answer, LoadFailed)
        assert answer.message == "ModuleNotFoundError: No module named 'like_starlette'"


# Rendering


@pytest.mark.parametrize("voice", ["tone", "low", "high"])
def test_a_render_is_exactly_the_engines_audio(voice: str) -> None:
    with loaded() as worker:
        pcm, end = worker.render(TEXT, voice, speed=1.5)
        assert pcm == expected(TEXT, voice, speed=1.5)
        assert end == Done(1, -(-len(pcm) // (2 * 1920)))


def test_a_render_without_a_voice_speaks_with_the_first_one() -> None:
    with loaded() as worker:
        assert worker.render(TEXT)[0] == expected(voice="tone")


@pytest.mark.parametrize(
    ("options", "code", "retryable"),
    [
        ({"fault": "raise@1"}, "render_failed", True),
        ({"fault": "oom@1"}, "out_of_memory", True),
        ({"fault": "empty"}, "empty_audio", False),
        ({"fault": "no such"}, "bad_option", False),
        ({"unheard_of": 1}, "bad_option", False),
        ({"speed": 99.0}, "bad_option", False),
    ],
    ids=str,
)
def test_a_failed_render_has_a_code_and_the_next_one_works(
    options: dict[str, object], code: str, retryable: bool
) -> None:
    with loaded() as worker:
        _, end = worker.render(TEXT, **options)  # type: ignore[arg-type]
        assert isinstance(end, Failed)
        assert (end.code, end.retryable, end.fatal) == (code, retryable, False)
        assert worker.render(TEXT, render_id=2)[0] == expected()


def test_an_unknown_voice_is_named_as_the_cause() -> None:
    with loaded() as worker:
        end = worker.render(TEXT, "nobody")[1]
        assert isinstance(end, Failed)
        assert end.code == "unknown_voice"


def test_a_lost_engine_is_said_to_be_fatal() -> None:
    with loaded() as worker:
        end = worker.render(TEXT, fault="fatal@1")[1]
        assert isinstance(end, Failed)
        assert end.fatal


@pytest.mark.parametrize(
    "chunk",
    ["[0.1, 0.2]", "np.ones(8, np.int16)", "np.ones((2, 8), np.float32)", "b'\\0\\0'", "None", "np.float32(1)"],
)
def test_a_chunk_that_is_no_mono_float_array_fails_its_render(tmp_path: Path, chunk: str) -> None:
    with loaded(adapter_class(tmp_path, f"yield {chunk}")) as worker:
        pcm, end = worker.render("x")
        assert isinstance(end, Failed)
        assert (pcm, end.code) == (b"", "render_failed")


def test_nan_infinity_and_overload_come_out_as_silence_and_full_scale(tmp_path: Path) -> None:
    render = "yield np.array([np.nan, np.inf, -np.inf, 2.0, -2.0, 0.5])"
    with loaded(adapter_class(tmp_path, render)) as worker:
        pcm = worker.render("x")[0]
        assert np.frombuffer(pcm, "<i2").tolist() == [0, 0, 0, 32767, -32767, 16384]


def test_a_huge_chunk_is_cut_and_an_empty_one_is_skipped(tmp_path: Path) -> None:
    render = "yield np.zeros(0, np.float32); yield np.ones((1, 1_000_000), np.float32)"
    with loaded(adapter_class(tmp_path, render)) as worker:
        pcm, end = worker.render("x")
        assert (len(pcm), end) == (2_000_000, Done(1, 3))


def test_a_render_that_hit_its_length_cap_says_so(tmp_path: Path) -> None:
    render = "yield np.ones(8, np.float32); return 'truncated'"
    with loaded(adapter_class(tmp_path, render)) as worker:
        assert worker.render("x")[1] == Done(1, 1, truncated=True)


@pytest.mark.parametrize("fault", ["print@1:1", "stderr@1:1"])
def test_an_engine_that_prints_does_not_touch_the_audio(fault: str) -> None:
    with loaded() as worker:
        assert worker.render(TEXT, fault=fault)[0] == expected()
        assert len(worker.log) > 900_000


def test_an_adapter_that_clones_says_so_and_learns_a_voice_from_its_sample_before_it_speaks(tmp_path: Path) -> None:
    source = """
    class A:
        sample_rate = 16000
        learned = {}
        def __init__(self, device): pass
        def voices(self): return ["v"]
        def prepare_voice(self, voice, path, transcript): self.learned[voice] = len(path) + len(transcript)
        def render(self, text, voice): yield np.ones(self.learned[voice], np.float32)
    """
    with started() as worker:
        answer = worker.load(adapter_file(tmp_path, source) + ":A")
        assert isinstance(answer, Ready)
        assert answer.can_clone
        worker.say(Render(1, "x", "new", sample={"path": "ab.wav", "transcript": "Hi."}))
        pcm, end = worker.hear_render()
        assert (len(pcm) // 2, end) == (9, Done(1, 1))


def test_a_sample_for_an_adapter_that_cannot_clone_is_an_unknown_voice() -> None:
    with loaded() as worker:
        worker.say(Render(1, "x", "new", sample={"path": "ab.wav", "transcript": ""}))
        _, end = worker.hear_render()
        assert isinstance(end, Failed)
        assert (end.code, end.retryable) == ("unknown_voice", False)


# While a render runs


def first_audio(worker: Worker, text: str = TEXT, render_id: int = 1, **options: object) -> None:
    worker.say(Render(render_id, text, "", dict(options)))
    assert isinstance(worker.hear(), Audio)


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
        ends: list[int] = []
        while len(ends) < 3:
            message = worker.hear()
            if isinstance(message, Done):
                ends.append(message.render_id)
        assert ends == [3, 2, 1]


def test_a_new_deadline_changes_whose_turn_it_is() -> None:
    with loaded(capacity=2, **SLOW) as worker:
        worker.say(Render(1, TEXT, "", {}, 10.0))
        worker.say(Render(2, TEXT, "", {}, 20.0))
        assert isinstance(audio := worker.hear(), Audio)
        assert audio.render_id == 1
        worker.say(Deadline(2, 1.0))
        heard = {audio.render_id for audio in [worker.hear() for _ in range(3)] if isinstance(audio, Audio)}
        assert 2 in heard


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


# Old and new interpreters


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_wire_worker_and_backends_compile_on_every_interpreter_a_backend_may_use(version: str) -> None:
    pythons = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    if not pythons:
        pytest.skip(f"no Python {version} on this machine")
    package = Path(voice_server.__file__).parent
    files = [str(path) for name in ("wire", "worker", "backends") for path in (package / name).glob("*.py")]
    check = "import sys, pathlib; [compile(pathlib.Path(p).read_text(), p, 'exec') for p in sys.argv[1:]]"
    subprocess.run([str(pythons[0]), "-I", "-c", check, *files], check=True)
