"""`python -m voice_server top` beside a real server: on a pipe, on a terminal, and without a server."""

from __future__ import annotations

import asyncio
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.e2e.programs import HOME, Outcome, environ, terminal
from tests.harness import TIMEOUT_S, running_server, tone_config, wait_until
from tests.server_process import ServerProcess, server_process
from voice_server.terminal.session import CannotConnect
from voice_server.terminal.top import fetch

TEXT = "One long sentence that goes on for a while, since everything else takes a while on a busy machine, " * 2


def top(url: str, folder: Path) -> Outcome:
    command = [sys.executable, "-m", "voice_server", "top", "--url", url]
    ended = subprocess.run(
        command, capture_output=True, text=True, cwd=HOME, env=environ(folder), timeout=TIMEOUT_S, check=False
    )
    return Outcome(ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def speaking(folder: Path) -> Iterator[ServerProcess]:
    """A server with one worker that renders a sentence for one listener while another one waits."""
    with server_process(folder, speed_rtf=0.99, seconds_per_char=0.14) as server:  # 25 s: busy machines need some
        server.wait_ready()
        with _listener(server) as first, _listener(server) as second:
            for ws in (first, second):
                ws.send(json.dumps({"token": TEXT, "flush": True}))
                ws.recv()
            wait_until(lambda: _waits(server), "one renders, one waits")
            yield server


def _listener(server: ServerProcess) -> ClientConnection:
    """It takes no audio, so it would wait long for the last word of the server."""
    return connect(f"{server.ws}/stream-tokens", close_timeout=0.1)


def _waits(server: ServerProcess) -> bool:
    backend = server.get("/status")[1]["backends"][0]
    return bool(backend["workers"][0]["renders"]) and [stream["waiting"] for stream in backend["streams"]] == [0, 1]


def test_on_a_pipe_it_prints_one_table(tmp_path: Path) -> None:
    with speaking(tmp_path) as server:
        seen = top(f"http://127.0.0.1:{server.port}", tmp_path)
    assert (seen.code, seen.err) == (0, "")
    lines = {line.split()[0]: " ".join(line.split()) for line in seen.out.splitlines() if line.split()}
    assert lines["tone-0"].startswith("tone-0 ready 1/1")
    assert " 1.1 " in lines["tone-0"]
    assert "place 1" in lines["2"]
    assert "…" not in seen.out  # nothing was cut off
    assert "sentence" not in seen.out


def test_on_a_terminal_it_is_drawn_until_ctrl_c(tmp_path: Path) -> None:
    with speaking(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}"
        with terminal("voice_server/__main__.py", "top", "--url", url, folder=tmp_path) as screen:
            screen.expect("tone-0")
            screen.expect("tone-0")  # drawn again
            screen.type("\x03")
            assert screen.exit_code() == 0


def test_once_it_is_printed_and_left_on_a_terminal_too(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}"
        with terminal("voice_server/__main__.py", "top", "--once", "--url", url, folder=tmp_path) as screen:
            screen.expect("tone-0")
            assert screen.exit_code() == 0


def test_a_server_that_goes_away_is_said_to_be_gone(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}"
        with terminal("voice_server/__main__.py", "top", "--url", url, folder=tmp_path) as screen:
            screen.expect("tone-0")
            server.send(signal.SIGKILL)
            screen.expect("cannot reach")
            screen.type("\x03")
            assert screen.exit_code() == 0


def test_without_a_server_it_says_so(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        seen = top(url, tmp_path)
    assert (seen.code, seen.out) == (1, "")
    assert seen.err == f"voice-server: cannot reach {url}: Connection refused; is the server running?\n"


def test_an_address_without_http_is_named() -> None:
    with pytest.raises(CannotConnect, match="starts with http"):
        fetch("ws://127.0.0.1:8000", "")


@pytest.mark.anyio
async def test_a_server_with_a_token_wants_it(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="open sesame") as server:
        with pytest.raises(CannotConnect, match="--token"):
            await asyncio.to_thread(fetch, server.http, "")
        status = await asyncio.to_thread(fetch, server.http + "/", "open sesame")
    assert [backend.name for backend in status.backends] == ["tone"]


class _Other(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"status": "fine"}')

    def log_message(self, format: str, *args: object) -> None:
        """Not on the test's output."""


def test_a_server_of_another_kind_is_told_apart() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Other) as server:
        threading.Thread(target=server.handle_request).start()
        with pytest.raises(CannotConnect, match="is no voice server"):
            fetch(f"http://127.0.0.1:{server.server_port}", "")
