"""A question to a server over HTTP: whatever answers, the person reads one line that they can act on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import pytest

from voice_server.core.limits import TerminalLimits
from voice_server.terminal.asking import ask
from voice_server.terminal.restart import run_restart
from voice_server.terminal.session import CannotConnect

IMPATIENT = replace(TerminalLimits(), status_s=0.2)


class Told(msgspec.Struct):
    ready: bool


@contextmanager
def server(*answers: bytes | None) -> Iterator[str]:
    """Gives each connection the next of these answers, whatever it says; None is silence until the end."""
    silent = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                connection.recv(65536)
                if answer is None:
                    silent.append(connection)
                    continue
                connection.sendall(answer)
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20.0)
        for connection in silent:
            connection.close()


def http(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def complaint(url: str, token: str = "") -> str:
    with pytest.raises(CannotConnect) as caught:
        ask(url, "/ready", Told, token, IMPATIENT)
    return str(caught.value)


def test_an_answer_is_of_the_type_that_was_asked_for() -> None:
    with server(http("200 OK", '{"ready": true}')) as url:
        assert ask(url, "/ready", Told, "") == Told(ready=True)


def test_what_is_no_address_is_said_before_anybody_is_asked() -> None:
    assert "starts with http:// or https://" in complaint("localhost:8000")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (http("409 Conflict", '{"error": {"message": "it is being restarted"}}'), "HTTP 409: it is being restarted"),
        (http("500 Internal Server Error", "oops"), "refused with HTTP 500"),
        (http("500 Internal Server Error", "[]"), "refused with HTTP 500"),
        (http("200 OK", "<html>"), "is no voice server"),
        (http("200 OK", '{"ready": 3}'), "is no voice server"),
        (b"SSH-2.0-OpenSSH\r\n", "no answer that could be read; is the server running?"),
        (b"", "cannot reach"),
        (None, "no answer in time; is the server running?"),
    ],
    ids=["words", "no words", "no object", "a page", "another version", "another protocol", "nothing", "silence"],
)
def test_what_goes_wrong_is_one_line(answer: bytes | None, says: str) -> None:
    with server(answer) as url:
        told = complaint(url)
    assert says in told and "\n" not in told


def test_where_nobody_listens_it_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    assert "is the server running?" in complaint(url)


def restarting(state: str, replaced: int, reason: str = "") -> bytes:
    told = {"backend": "tone", "state": state, "replaced": replaced, "workers": 2, "reason": reason}
    return http("202 Accepted", msgspec.json.encode(told).decode())


def test_a_restart_is_followed_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with server(restarting("running", 0), restarting("running", 1), restarting("done", 2)) as url:
        assert run_restart(url, "", "tone") == 0
    told = capsys.readouterr()
    assert "1 of 2 workers replaced" in told.out + told.err and "tone was restarted" in told.out + told.err


def test_a_restart_that_fails_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with server(restarting("failed", 0, "its model is gone")) as url:
        assert run_restart(url, "", "tone") == 1
    told = capsys.readouterr()
    assert "its old workers go on: its model is gone" in told.out + told.err
