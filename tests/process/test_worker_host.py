"""What an adapter may be, how loading ends, and what a render says. Its life and turns: `test_worker_turns.py`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import voice_server
from tests.process.worker_driver import (
    TEXT,
    TONE,
    adapter_class,
    adapter_file,
    expected,
    loaded,
    started,
)
from voice_server.wire.messages import (
    Done,
    Failed,
    Hello,
    Load,
    LoadFailed,
    Progress,
    Ready,
    Render,
)
from voice_server.worker.pcm import to_pcm

# Loading


def test_a_worker_greets_reports_its_progress_and_is_ready() -> None:
    with started() as worker:
        hello = worker.hear()
        assert hello == Hello(1, worker.process.pid, ".".join(map(str, sys.version_info[:3])))
        worker.say(Load(TONE, "cpu", {"capacity": 3, "sample_rate": 16000}, "Warm up."))
        said = [worker.hear() for _ in range(4)]
        assert said == [
            *(Progress("importing"), Progress("loading"), Progress("warming up")),
            Ready(16000, 3, ["tone", "low", "high"], True, can_clone=True),
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
