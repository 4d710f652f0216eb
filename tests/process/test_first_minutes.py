"""What a person sees who starts the server, with real processes; each command on the screen is run as it stands."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import soundfile

from tests.harness import TIMEOUT_S, wait_until
from tests.server_process import HOME, ServerProcess, server_process

pytestmark = pytest.mark.usefixtures("no_leaks")

TITLE, END = "The voice gateway can speak.", "Ctrl-C stops the server."
ROWS, COLUMNS = 24, 80


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands write files; and this terminal is not uv's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.delenv("VOICE_SERVER_TOKEN", raising=False)


def welcomed(server: ServerProcess) -> str:
    """The screen, when it is complete."""
    wait_until(lambda: END in server.stderr, "the first screen")
    return server.stderr[server.stderr.index(TITLE) : server.stderr.index(END) + len(END)]


def run(command: str) -> str:
    """As from the user's own shell. What it said."""
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environ, timeout=3 * TIMEOUT_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ready", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError:
        return False


def printed_commands(screen: str) -> list[str]:
    """The indented lines after the invitation, joined where one ends with a backslash."""
    after = screen.split("Try it", 1)[1].split("\n", 1)[1].rsplit(END, 1)[0]
    lines = after.replace("\\\n", "\\\n  ").splitlines()
    return [command for command in re.split(r"\n(?!  {3})", "\n".join(lines).strip("\n")) if command.strip()]


@pytest.mark.parametrize("token", ["", "secret"])
def test_the_printed_commands_make_files_to_listen_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    if token:
        monkeypatch.setenv("VOICE_SERVER_TOKEN", token)
    with server_process(tmp_path) as server:
        curl, client = printed_commands(welcomed(server))
        run(curl)
        run(client)
    assert soundfile.info(tmp_path / "hello.mp3").duration > 1.0
    assert soundfile.info(tmp_path / "hello.wav").duration > 1.0


def test_the_printed_doctor_examines_this_machine(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        told = re.search(r"^Trouble\? +(.+)$", welcomed(server), re.MULTILINE)
    assert told
    assert "chosen backend" in run(told[1])


def test_a_log_gets_the_screen_without_colours(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        welcomed(server)
        assert "\x1b" not in server.stderr


def test_a_terminal_gets_colours_and_the_screen_fits_it(tmp_path: Path) -> None:
    keyboard, screen = pty.openpty()
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    command = [sys.executable, "-m", "voice_server", "--backend", "tone", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(HOME), "TERM": "xterm-256color"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stderr=screen, env=environ)
    os.close(screen)
    shown = ""
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while END not in shown and time.monotonic() < deadline:
            shown += os.read(keyboard, 65536).decode()
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)
    assert "\x1b[1;32m" + TITLE in shown
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown[shown.index(TITLE) :]).splitlines()
    assert len(lines) < ROWS
    assert [line for line in lines if len(line) >= COLUMNS and HOME.as_posix() not in line] == []


def test_the_browser_is_opened_at_the_page_and_is_not_told_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("VOICE_SERVER_TOKEN", "secret")
    with server_process(tmp_path, "--open") as server:
        wait_until(opened.exists, "the browser is opened")
        assert opened.read_text() == f"http://127.0.0.1:{server.port}/"


def test_a_browser_that_stays_open_does_not_keep_the_server_from_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, pid = tmp_path / "browser", tmp_path / "pid"
    browser.write_text(f"#!/bin/sh\necho $$ > {pid}.part && mv {pid}.part {pid}\nexec sleep 60 2>&-\n")
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    with server_process(tmp_path, "--open") as server:
        wait_until(pid.exists, "the browser is open")
        try:
            server.send(15)
            assert server.wait() == 0
        finally:
            os.kill(int(pid.read_text()), 9)


def test_without_the_flag_no_browser_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "false")
    with server_process(tmp_path) as server:
        welcomed(server)
        server.send(15)
        server.wait()
        assert "no browser" not in server.stderr


def test_where_no_browser_opens_the_address_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "false")
    monkeypatch.setenv("PATH", str(tmp_path))  # none that it would find by itself either
    with server_process(tmp_path, "--open") as server:
        told = f"there is no browser here: open http://127.0.0.1:{server.port}/ yourself"
        wait_until(lambda: told in server.stderr, "it is said")


def test_the_first_backend_gets_the_screen_and_a_later_one_its_stages_and_a_line(tmp_path: Path) -> None:
    adapter = {"adapter": "voice_server.backends.tone:ToneBackend", "workers": 1}
    config = tmp_path / "slow.yaml"
    config.write_text(json.dumps({"backends": {"tone": {**adapter, "options": {"load_s": 2.0}}, "quick": adapter}}))
    with server_process(tmp_path, "--config", str(config), "--backend", "quick") as server:
        wait_until(lambda: "tone is ready: 3 voices, 24000 Hz\n" in server.stderr, "the slow one is ready")
        told = server.stderr
    assert told.count(TITLE) == 1
    assert "Backend   quick, 24000 Hz." in told
    assert "tone-0: loading\n" in told
    assert told.index("tone is ready") > told.index(END)


def test_when_nothing_can_speak_the_next_step_is_said(tmp_path: Path) -> None:
    with server_process(tmp_path, load_fault="config") as server:
        wait_until(lambda: "Nothing can speak yet." in server.stderr, "the next step")
        told = server.stderr
    assert "tone cannot speak: " in told and TITLE not in told
    assert re.search(r"-m voice_server doctor$", told, re.MULTILINE)  # the log may say more after it


def test_who_stops_reading_its_words_does_not_stop_the_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "voice_server", "--backend", "tone", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        assert process.stderr
        line = next(line for line in process.stderr if "listening on http://" in line)
        process.stderr.close()
        address = line.split()[2]
        wait_until(lambda: is_ready(address), "it can speak")
        assert process.poll() is None
        process.send_signal(15)
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()
