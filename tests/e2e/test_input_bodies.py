"""I1 for the HTTP doors: a body that is no request gets 4xx and a code, and is nobody's mistake but the client's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import TIMEOUT_S
from tests.server_process import ServerProcess, server_process

JSON_DOORS = [
    "/tts",
    "/v1/audio/speech",
    "/v1/captions",
    "/v1/text-to-speech/tone",
    "/v1/text-to-speech/tone/stream",
    "/v1/text-to-speech/tone/with-timestamps",
    "/v1/text-to-speech/tone/stream/with-timestamps",
    "/tts/bytes",
    "/v1/speak",
    "/chat",
    "/loras/load",
    "/loras/unload",
]
NO_REQUEST = {
    "nothing": b"",
    "no JSON": b"hello",
    "a number": b"1",
    "a list": b"[]",
    "null": b"null",
    "half an object": b'{"text":"x"',
    "no UTF-8": b'{"text":"\xff"}',
    "half of a pair": b'{"text":"\\ud800","input":"\\ud800","transcript":"\\ud800"}',
    "NaN": b'{"text":NaN}',
    "60 000 lists": b"[" * 60_000,
    "deep objects": b'{"opts":' * 8_000,
    "wrong types": b'{"text":5,"input":5,"transcript":5,"messages":5,"name":5}',
    "64 KiB and one byte": b'"' + b"x" * 65_536,
}
FORM_DOORS = ["/v1/audio/voices"]
NO_FORM = {
    "no form": (b"hello", "text/plain"),
    "no boundary": (b"--x\r\n", "multipart/form-data"),
    "nothing": (b"", "multipart/form-data; boundary=x"),
    "another boundary": (b"--y\r\n\r\nz\r\n--y--\r\n", "multipart/form-data; boundary=x"),
    "half a part": (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRI',
        "multipart/form-data; boundary=x",
    ),
    "a part without a name": (
        b"--x\r\nContent-Disposition: form-data\r\n\r\nz\r\n--x--\r\n",
        "multipart/form-data; boundary=x",
    ),
    "a header without an end": (b"--x\r\nContent-Disposition: " + b"y" * 60_000, "multipart/form-data; boundary=x"),
    "100 fields": (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nz\r\n' * 100 + b"--x--\r\n",
        "multipart/form-data; boundary=x",
    ),
    "a boundary of 10 000 characters": (b"--x\r\n", "multipart/form-data; boundary=" + "x" * 10_000),
    "a charset that there is not": (b"--x--\r\n", "multipart/form-data; boundary=x; charset=klingon"),
}


@pytest.fixture(scope="module")
def server(tone_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("bodies")) as server:
        server.wait_ready()
        yield server
        assert "Traceback" not in server.stderr


def _code_of(answer: httpx.Response) -> object:
    """Each door has the shape of the server that its clients know."""
    told = answer.json()
    inner = next((told[key] for key in ("error", "detail") if isinstance(told.get(key), dict)), told)
    return next((inner[key] for key in ("code", "error_code", "err_code", "status") if inner.get(key)), None)


def _post(server: ServerProcess, door: str, body: bytes, kind: str) -> httpx.Response:
    url = f"http://127.0.0.1:{server.port}{door}"
    return httpx.post(url, content=body, headers={"content-type": kind}, timeout=TIMEOUT_S)


@pytest.mark.parametrize("door", JSON_DOORS)
def test_i1_a_body_that_is_no_request_gets_a_code_at_every_door(server: ServerProcess, door: str) -> None:
    for case, body in NO_REQUEST.items():
        answer = _post(server, door, body, "application/json")
        assert 400 <= answer.status_code < 500, case
        assert _code_of(answer), (case, answer.text)
    assert "Traceback" not in server.stderr


@pytest.mark.parametrize("door", FORM_DOORS)
def test_i1_a_form_that_is_none_gets_a_code(server: ServerProcess, door: str) -> None:
    for case, (body, kind) in NO_FORM.items():
        answer = _post(server, door, body, kind)
        assert 400 <= answer.status_code < 500, case
        assert _code_of(answer), (case, answer.text)
    assert "Traceback" not in server.stderr
