from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv

from voice_server.venvs import VenvBuildFailed, VenvSpec, VenvStore, default_home, key

ROOT = Path(__file__).resolve().parents[2]
PLAIN = VenvSpec()

BUILD = """
import sys
from pathlib import Path
from voice_server.venvs import VenvSpec, VenvStore
store = VenvStore(Path(sys.argv[1]), find_uv=lambda: sys.argv[2])
print(store.build("tone", VenvSpec(), lambda line: print(line, flush=True)))
"""

# uv, but installing takes for ever: a build that is half-way for as long as a test needs.
STUCK_UV = """#!/bin/sh
[ "$1" = pip ] && touch {stuck} && exec sleep 60
exec {uv} "$@"
"""


def no_uv() -> str:
    raise FileNotFoundError


@pytest.fixture
def store(tmp_path):
    return VenvStore(tmp_path)


def build(store: VenvStore, spec: VenvSpec = PLAIN, name: str = "tone") -> tuple[Path, list[str]]:
    lines: list[str] = []
    return store.build(name, spec, lines.append), lines


@dataclass(frozen=True)
class Built:
    home: Path
    python: Path
    lines: list[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """PLAIN, built once for the tests that only look at it."""
    home = tmp_path_factory.mktemp("built")
    return Built(home, *build(VenvStore(home)))


def refusal(store: VenvStore, spec: VenvSpec) -> VenvBuildFailed:
    with pytest.raises(VenvBuildFailed) as caught:
        build(store, spec, "mine")
    return caught.value


@pytest.fixture
def start_build(tmp_path):
    """Starts a process that builds PLAIN under tmp_path; at the end, nobody it started is left."""
    started: list[subprocess.Popen[str]] = []

    def _start(uv_program: str = uv.find_uv_bin()) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", BUILD, tmp_path, uv_program]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield _start
    for process in started:
        kill_group(process)


@pytest.fixture
def start_stuck_build(start_build, tmp_path):
    """The same with a build that is half-way when this returns, and stays so."""

    def _start() -> subprocess.Popen[str]:
        program, stuck = tmp_path / "uv", tmp_path / "stuck"
        program.write_text(STUCK_UV.format(uv=uv.find_uv_bin(), stuck=stuck))
        program.chmod(0o755)
        process: subprocess.Popen[str] = start_build(str(program))
        wait_until(stuck.exists)
        return process

    return _start


def kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)


def wait_until(condition: Callable[[], bool], deadline_s: float = 20) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@contextlib.contextmanager
def lock_of_plain(home: Path) -> Iterator[int]:
    path = home / "venvs" / f"{key(PLAIN)}.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        yield file.fileno()


def is_free(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_a_built_environment_runs_and_holds_what_the_worker_host_needs(built):
    code = "import sys, msgpack, numpy; print(sys.prefix != sys.base_prefix)"
    assert subprocess.run([built.python, "-c", code], capture_output=True, text=True).stdout == "True\n"


def test_a_built_environment_sees_nothing_of_the_gateway(built):
    assert subprocess.run([built.python, "-c", "import starlette"], capture_output=True).returncode == 1


def test_what_uv_says_is_reported(built):
    assert any(line.startswith("+ numpy==") for line in built.lines)


def test_nothing_is_found_before_it_is_built(store):
    assert store.find(PLAIN) is None


def test_what_was_built_is_found_by_another_store(built):
    assert VenvStore(built.home).find(PLAIN) == built.python


def test_what_was_built_needs_neither_uv_nor_network(built):
    assert build(VenvStore(built.home, find_uv=no_uv, environ={})) == (built.python, [])


def test_the_stamp_tells_what_is_inside(built):
    stamp = json.loads((built.python.parent.parent / "voice-server.json").read_text())
    assert stamp == {"backend": "tone", "python": PLAIN.python, "requirements": []}


def test_an_environment_of_the_user_s_own_is_used_and_not_changed(built, store):
    folder = built.python.parent.parent
    before = sorted(folder.rglob("*"))
    assert store.find(VenvSpec(path=folder)) == built.python
    assert build(store, VenvSpec(path=folder)) == (built.python, [])
    assert sorted(folder.rglob("*")) == before


def test_a_changed_spec_is_another_environment(store):
    first, _ = build(store)
    second, _ = build(store, VenvSpec(requirements=("six",)))
    assert first != second and subprocess.run([second, "-c", "import six"]).returncode == 0


def test_what_is_installed_without_its_dependencies_comes_alone(store):
    python, _ = build(store, VenvSpec(no_deps=("python-dateutil==2.9.0.post0",)))
    assert subprocess.run([python, "-c", "import dateutil"]).returncode == 0
    assert subprocess.run([python, "-c", "import six"], capture_output=True).returncode == 1


@pytest.mark.parametrize(
    "changed", [VenvSpec(python="3.11"), VenvSpec(requirements=("six",)), VenvSpec(no_deps=("six",))]
)
def test_the_key_changes_with_every_part_of_the_spec(changed):
    assert key(changed) != key(PLAIN)


def test_the_order_of_requirements_does_not_matter_to_the_key():
    assert key(VenvSpec(requirements=("a", "b"))) == key(VenvSpec(requirements=("b", "a")))


def test_a_requirement_that_does_not_exist_is_named_with_the_command_to_retry(store):
    error = refusal(store, VenvSpec(requirements=("six", "voice-server-no-such-package==0")))
    assert error.requirement == "voice-server-no-such-package==0"
    assert error.retry == "python -m voice_server install mine" and error.retry in str(error)


def test_a_requirement_against_our_own_is_the_one_that_is_blamed(store):
    assert refusal(store, VenvSpec(requirements=("numpy==0.0.1",))).requirement == "numpy==0.0.1"


def test_a_requirement_that_is_not_one_is_named(store):
    assert refusal(store, VenvSpec(requirements=("six=>1",))).requirement == "six=>1"


def test_a_failed_build_leaves_nothing_behind(store):
    spec = VenvSpec(requirements=("voice-server-no-such-package==0",))
    refusal(store, spec)
    assert store.find(spec) is None and not store.folder(spec).exists()


def test_a_python_that_is_missing_is_named(store):
    error = refusal(store, VenvSpec(python="==3.99.*"))
    assert "no Python ==3.99.*" in error.detail and "none is downloaded" in error.detail


def test_the_machine_is_known_to_have_or_not_to_have_a_python(store):
    assert store.has_interpreter(VenvSpec(python=">=3.9"))
    assert not store.has_interpreter(VenvSpec(python="==3.99.*"))


def test_a_missing_uv_is_told_with_what_to_do(tmp_path):
    assert "pip install uv" in refusal(VenvStore(tmp_path, find_uv=no_uv), PLAIN).detail


def test_a_home_that_is_a_file_is_told(tmp_path):
    home = tmp_path / "home"
    home.touch()
    assert str(home) in refusal(VenvStore(home), PLAIN).detail


def test_two_processes_that_start_at_once_build_once(start_build, store):
    builders = [start_build(), start_build()]
    said = [builder.communicate(timeout=60)[0] for builder in builders]
    assert len([output for output in said if "+ numpy==" in output]) == 1
    assert {output.splitlines()[-1] for output in said} == {str(store.find(PLAIN))}


def test_the_one_that_waits_says_so_and_goes_on_when_it_may(start_build, tmp_path):
    with lock_of_plain(tmp_path) as lock:
        assert is_free(lock)  # and now it is ours
        waiting = start_build()
        assert "another process is building" in waiting.stdout.readline()
    assert waiting.wait(timeout=60) == 0


def test_an_environment_whose_builder_was_killed_is_built_anew(start_stuck_build, store):
    builder = start_stuck_build()
    kill_group(builder)
    assert store.find(PLAIN) is None
    python, lines = build(store)
    assert "removing an environment that is not complete" in lines
    assert subprocess.run([python, "-c", "import numpy"]).returncode == 0


def test_an_orphaned_uv_keeps_the_lock_until_it_ends(start_stuck_build, tmp_path):
    builder = start_stuck_build()
    os.kill(builder.pid, signal.SIGKILL)
    builder.wait(timeout=10)
    with lock_of_plain(tmp_path) as lock:
        assert not is_free(lock)
        kill_group(builder)
        wait_until(lambda: is_free(lock))


def test_an_environment_that_lost_its_interpreter_is_built_anew(store):
    python, _ = build(store)
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert store.find(PLAIN) is None
    assert build(store)[0].is_file()


def test_a_report_that_gives_up_ends_the_build(store):
    def give_up(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build("tone", PLAIN, give_up)
    assert store.find(PLAIN) is None and build(store)[0].is_file()


def test_an_own_environment_without_a_python_is_told(store, tmp_path):
    error = refusal(store, VenvSpec(path=tmp_path / "none"))
    assert "There is no" in error.detail and store.find(VenvSpec(path=tmp_path / "none")) is None


def test_an_own_environment_without_msgpack_is_told_what_to_install(store, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
    error = refusal(store, VenvSpec(path=tmp_path / "own"))
    assert "No module named 'msgpack'" in error.detail and "-m pip install 'msgpack" in error.retry


@pytest.mark.parametrize(("mode", "reason"), [(0o644, "Permission denied"), (0o755, "Exec format error")])
def test_an_own_environment_whose_python_is_no_program_is_told(store, tmp_path, mode, reason):
    python = tmp_path / "own" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_bytes(b"\x7fELF of another machine")
    python.chmod(mode)
    assert refusal(store, VenvSpec(path=tmp_path / "own")).detail == f"{python}: {reason}"


def test_find_links_of_pip_are_handed_to_uv(tmp_path):
    (tmp_path / "wheels").mkdir()
    environ = os.environ | {"PIP_FIND_LINKS": f"{tmp_path}/wheels {tmp_path}/missing"}
    environ.pop("UV_FIND_LINKS", None)
    error = refusal(VenvStore(tmp_path, environ=environ), VenvSpec(requirements=("six",)))
    assert f"{tmp_path}/missing" in error.detail


def test_pruning_removes_what_no_spec_needs(store):
    old, _ = build(store, VenvSpec(requirements=("six",)))
    new, _ = build(store)
    assert store.prune([PLAIN]) == [old.parent.parent]
    assert not old.exists() and store.find(PLAIN) == new


def test_pruning_spares_an_environment_that_a_process_runs_in(store):
    python, _ = build(store)
    command = [python, "-c", "print('here', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert store.prune([]) == []
        process.stdin.write(b"\n")
    assert store.prune([]) == [python.parent.parent]


@pytest.mark.parametrize(
    "environ, home",
    [
        ({"VOICE_SERVER_HOME": "/a", "XDG_CACHE_HOME": "/b"}, Path("/a")),
        ({"XDG_CACHE_HOME": "/b"}, Path("/b/voice-server")),
        ({}, Path.home() / ".cache" / "voice-server"),
    ],
)
def test_the_default_home_follows_the_environment(environ, home):
    assert default_home(environ) == home
