"""SIGHUP: a running server takes up what has changed in its backends.yaml, or says why it does not."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.harness import ask, eventually, read_answer, running_pool, say, tone_bytes, wait_until
from tests.process.pool_driver import first_audio
from tests.server_process import ServerProcess, server_process
from voice_server.assembly import Running, worker_specs
from voice_server.config import BackendConfig, load_config
from voice_server.core.errors import BackendUnavailable
from voice_server.pool.outfit import Outfit
from voice_server.reload import Reloader
from voice_server.stream.backend import Backend

pytestmark = pytest.mark.usefixtures("no_leaks")

LOAD_S = 60.0
FIRST, SECOND = "This sentence began with the old settings.", "And this one has the new ones."


def change(folder: Path, **settings: Any) -> None:
    """Of the backend tone, in the file of the server."""
    path = folder / "tone.yaml"
    told = json.loads(path.read_text())
    told["backends"]["tone"].update(settings)
    path.write_text(json.dumps(told))


def reload(server: ServerProcess, says: str = "was read again") -> None:
    """Until the log says that it is over."""
    before = server.stderr.count(says)
    server.send(signal.SIGHUP)
    wait_until(lambda: server.stderr.count(says) > before, f"the log says {says!r}", LOAD_S)


def pids(server: ServerProcess) -> set[int]:
    return {worker.pid for worker in server.workers()}


def tone(server: ServerProcess) -> dict[str, Any]:
    (backend,) = server.get("/backends")[1]["backends"]
    assert isinstance(backend, dict)
    return backend


def spoken(server: ServerProcess, text: str) -> bytes:
    return asyncio.run(ask(server.ws, {"token": text, "done": True})).audio


def test_workers_get_their_new_settings_and_a_sentence_that_is_spoken_is_finished(tmp_path: Path) -> None:
    async def speak_meanwhile(server: ServerProcess) -> bytes:
        async with websockets.connect(f"{server.ws}/stream-tokens") as ws:
            await say(ws, {"token": FIRST, "flush": True})
            heard = await first_audio(ws)
            await asyncio.to_thread(reload, server)
            await say(ws, {"token": SECOND, "done": True})
            answer = await read_answer(ws)
            assert answer.codes == []
            return heard + answer.audio

    with server_process(tmp_path, speed_rtf=0.5) as server:
        server.wait_ready()
        before = pids(server)
        change(tmp_path, options={"speed_rtf": 0.0, "seconds_per_char": 0.03})
        audio = asyncio.run(speak_meanwhile(server))
        assert not before & pids(server)
        assert "tone changed" in server.stderr
    assert audio == tone_bytes(FIRST) + tone_bytes(SECOND, seconds_per_char=0.03)


def test_the_number_of_workers_and_spares_may_grow_and_shrink(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        change(tmp_path, workers=2, spares=1)
        reload(server)
        assert sorted(worker["state"] for worker in tone(server)["workers"]) == ["ready", "ready", "spare"]
        change(tmp_path, workers=1, spares=0)
        reload(server)
        assert [worker["state"] for worker in tone(server)["workers"]] == ["ready"]
        assert len(server.workers()) == 1


def scaling(server: ServerProcess) -> dict[str, Any]:
    told = server.get("/status")[1]["backends"][0]["scaling"]
    assert isinstance(told, dict)
    return told


def test_other_bounds_are_taken_up_and_touch_nobody_within_them(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        before = pids(server)
        change(tmp_path, workers={"min": 2, "max": 4})
        reload(server)
        told = scaling(server)
        assert (told["workers"], told["min"], told["max"]) == (2, 2, 4)
        assert before < pids(server)
        before = pids(server)
        change(tmp_path, workers={"min": 1, "max": 3})
        reload(server)
        assert (scaling(server)["max"], pids(server)) == (3, before)
        change(tmp_path, workers={"min": 1, "max": 1})
        reload(server)
        assert len(pids(server)) == 1
        assert pids(server) < before


def test_a_pool_size_that_the_operator_asked_for_fixes_the_number(tmp_path: Path) -> None:
    with server_process(tmp_path, "--pool-size", "2", workers={"min": 1, "max": 4}) as server:
        server.wait_ready()
        told = scaling(server)
        assert (told["workers"], told["min"], told["max"]) == (2, 2, 2)


def test_what_no_worker_is_made_of_changes_without_a_new_one(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        before = pids(server)
        change(tmp_path, voice="low")
        reload(server)
        assert tone(server)["voice"] == "low"
        assert pids(server) == before
        assert spoken(server, FIRST) == tone_bytes(FIRST, voice="low")


def test_what_has_not_changed_is_left_alone(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        before = pids(server)
        reload(server)
        assert "nothing that runs has changed" in server.stderr
        assert pids(server) == before


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"workers": "many"}, "backends.tone.workers"),
        ({"wrkers": 2}, "did you mean workers?"),
        ({"venv": {"path": "~no-such-user"}}, "a name that is no user's"),
        ({"scheduling": "fifo"}, "that needs a restart of the server"),
    ],
    ids=["type", "key", "home", "fixed"],
)
def test_a_bad_file_is_refused_with_its_errors_and_changes_nothing(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        before = pids(server)
        change(tmp_path, voice="low", **settings)
        reload(server, "the configuration stays as it was")
        wait_until(lambda: reason in server.stderr, reason)
        assert (pids(server), tone(server)["voice"]) == (before, "tone")
        assert spoken(server, FIRST) == tone_bytes(FIRST)


def test_after_a_python_that_is_no_program_the_corrected_file_is_taken_up(tmp_path: Path) -> None:
    python = tmp_path / "own" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(0o644)
    with server_process(tmp_path) as server:
        server.wait_ready()
        before, right = pids(server), (tmp_path / "tone.yaml").read_text()
        change(tmp_path, voice="low", venv={"path": "own"})
        reload(server, "the configuration stays as it was")
        wait_until(lambda: f"{python}: Permission denied" in server.stderr, "the reason")
        assert (pids(server), tone(server)["voice"]) == (before, "tone")
        (tmp_path / "tone.yaml").write_text(right)
        change(tmp_path, voice="low")
        reload(server)
        assert (pids(server), tone(server)["voice"]) == (before, "low")


@contextlib.asynccontextmanager
async def reloading(
    folder: Path, backend: Backend, outfit: Callable[[BackendConfig], Outfit]
) -> AsyncIterator[Reloader]:
    reloader = Reloader(folder / "tone.yaml", Running([backend], [], outfit))
    running = asyncio.create_task(reloader.run())
    try:
        yield reloader
    finally:
        running.cancel()


def written(folder: Path, **settings: Any) -> BackendConfig:
    """The backend tone, as a file in this folder has it from now on."""
    told = {"adapter": "voice_server.backends.tone:ToneBackend", "warmup_text": "", **settings}
    (folder / "tone.yaml").write_text(json.dumps({"backends": {"tone": told}}))
    return load_config(folder / "tone.yaml").backends["tone"]


@pytest.mark.anyio
@pytest.mark.parametrize("error", [OSError("the disk has failed"), BackendUnavailable("no cluster")], ids=repr)
async def test_whatever_stands_in_the_way_is_logged_and_the_next_reload_is_heard(
    tmp_path: Path, tone_python: Path, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    errors = [error]

    def outfit(config: BackendConfig) -> Outfit:
        if errors:
            raise errors.pop()
        return backend.pool.outfit

    async with running_pool(written(tmp_path), tone_python) as backend:
        async with reloading(tmp_path, backend, outfit) as reloader:
            written(tmp_path, voice="low")
            reloader.ask()
            await eventually(lambda: f"stays as it was: {error}" in caplog.text, "it is logged")
            assert backend.config.voice == ""
            reloader.ask()
            await eventually(lambda: backend.config.voice == "low", "it is taken up")


@pytest.mark.anyio
async def test_a_reload_waits_for_each_restart_that_was_asked_for_before_it(tmp_path: Path, tone_python: Path) -> None:
    def outfit(config: BackendConfig) -> Outfit:
        return Outfit(tuple(worker_specs(config, tone_python, 0, [])), config.bounds(0))

    async def restart_again() -> None:
        await first.ended()
        backend.pool.restart()

    async with running_pool(written(tmp_path, options={"load_s": 0.5}), tone_python) as backend:
        async with reloading(tmp_path, backend, outfit) as reloader:
            first = backend.pool.restart()
            another = asyncio.create_task(restart_again())
            wanted = written(tmp_path, options={"load_s": 0.0})
            reloader.ask()
            await another
            await eventually(lambda: backend.config == wanted, "it is taken up", LOAD_S)
            assert backend.pool.outfit == outfit(wanted)


def test_workers_that_do_not_load_leave_the_old_ones_and_their_settings(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        server.wait_ready()
        before = pids(server)
        change(tmp_path, voice="low", options={"colour": "red"})
        reload(server, "the restart of tone has failed")
        assert (pids(server), tone(server)["voice"]) == (before, "tone")
        assert spoken(server, FIRST) == tone_bytes(FIRST)


def restart(server: ServerProcess, backend: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "voice_server", "restart", backend, "--url", f"http://127.0.0.1:{server.port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_S, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_backend_is_restarted_from_the_command_line(tmp_path: Path) -> None:
    with server_process(tmp_path, workers=2) as server:
        server.wait_ready()
        before = pids(server)
        code, said = restart(server, "tone")
        assert (code, said.splitlines()[-1]) == (0, "tone was restarted")
        assert not before & pids(server)
        code, said = restart(server, "other")
        assert (code, "this server runs tone" in said) == (1, True)


def test_a_closed_terminal_still_ends_the_server(tmp_path: Path) -> None:
    (tmp_path / "tone.yaml").write_text(
        json.dumps({"backends": {"tone": {"adapter": "voice_server.backends.tone:ToneBackend"}}})
    )
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "voice_server", "--config", str(tmp_path / "tone.yaml")]
    process = subprocess.Popen(
        [*command, "--backend", "tone", "--port", "0"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # what a login does: it is their terminal now
        text=True,
    )
    os.close(theirs)
    server = ServerProcess(process)
    try:
        server.wait_ready()
        os.close(ours)
        assert server.wait() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        assert process.stderr
        process.stderr.close()
