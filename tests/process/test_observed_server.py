"""A real server and what stands behind its logs and traces: a full disk, a collector, and a collector that is down."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.harness import Answer, ask, read_answer, say, tone_bytes, wait_until
from tests.server_process import HOME, ServerProcess, server_process

pytestmark = pytest.mark.usefixtures("no_leaks")

TEXT = "Pack my box with five dozen jugs."
TRACE = "0af7651916cd43dd8448eb211c80319c"


def speak(server: ServerProcess, **opts: Any) -> Answer:
    return asyncio.run(ask(server.ws, {"opts": opts}, {"token": TEXT, "done": True}))


def test_json_logs_are_one_object_a_line_with_the_lines_of_workers(tmp_path: Path) -> None:
    with server_process(tmp_path, "--log-format", "json", "--log-level", "info") as server:
        server.wait_ready()
        speak(server, fault="print@1")
        wait_until(lambda: "answer done" in server.stderr, "the answer is logged")
        server.send(signal.SIGTERM)
        assert server.wait() == 0
    lines = [json.loads(line) for line in server.stderr.splitlines() if line.startswith("{")]
    assert {"ts", "level", "logger", "msg"} <= set.intersection(*(set(line) for line in lines))
    answer = next(line for line in lines if line["logger"] == "voice_server.answers")
    assert (answer["state"], answer["door"], answer["backend"]) == ("done", "WS /stream-tokens", "tone")
    assert [line["worker"] for line in lines if line["logger"] == "voice_server.worker"]
    assert TEXT.split()[-1] not in server.stderr


def test_f7_a_server_whose_log_goes_to_a_full_disk_serves_on(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "tone.yaml"
    config.write_text(json.dumps({"backends": {"tone": {"adapter": "voice_server.backends.tone:ToneBackend"}}}))
    command = [
        sys.executable,
        "-m",
        "voice_server",
        "--config",
        str(config),
        "--port",
        str(port),
        "--log-level",
        "debug",
    ]
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(command, stderr=full, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(HOME)})
    try:
        wait_until(lambda: _is_ready(port), "the server is ready")
        answer = asyncio.run(ask(f"ws://127.0.0.1:{port}", {"token": TEXT, "done": True}))
        assert answer.audio == tone_bytes(TEXT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5).status == 200
    except OSError:
        return False


@contextmanager
def collector(status: int = 200) -> Iterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """Its address, and what it was sent."""
    got: list[ExportTraceServiceRequest] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def spans(got: list[ExportTraceServiceRequest]) -> list[Any]:
    return [
        span
        for request in got
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def test_a_collector_gets_the_answer_under_the_client_s_own_span(tmp_path: Path) -> None:
    async def traced(server: ServerProcess) -> None:
        import websockets

        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        async with websockets.connect(f"{server.ws}/stream-tokens", additional_headers=headers) as ws:
            await say(ws, {"token": TEXT, "done": True})
            await read_answer(ws)

    with collector() as (address, got):
        with server_process(tmp_path, by=("env", f"OTEL_EXPORTER_OTLP_ENDPOINT={address}")) as server:
            server.wait_ready()
            asyncio.run(traced(server))
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        names = {span.name: span for span in spans(got)}
        assert set(names) == {"answer", "sentence"}
        assert {span.trace_id.hex() for span in spans(got)} == {TRACE}
        assert names["answer"].parent_span_id.hex() == "b7ad6b7169203331"
        assert [event.name for event in names["sentence"].events] == ["render", "first audio"]
        service = {item.key: item.value.string_value for item in got[0].resource_spans[0].resource.attributes}
        assert service["service.name"] == "voice-server"


@pytest.mark.parametrize("trouble", ["nobody is there", "it fails"])
def test_a_collector_in_trouble_changes_nothing_for_listeners_and_the_end(tmp_path: Path, trouble: str) -> None:
    with collector(status=500) as (address, _):
        endpoint = address if trouble == "it fails" else "http://127.0.0.1:9"
        with server_process(tmp_path, by=("env", f"OTEL_EXPORTER_OTLP_ENDPOINT={endpoint}")) as server:
            server.wait_ready()
            for _ in range(3):
                assert speak(server).audio == tone_bytes(TEXT)
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        assert "Traceback" not in server.stderr


def test_g6_the_loop_of_a_real_server_is_watched(tmp_path: Path) -> None:
    def watched(server: ServerProcess) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=20) as response:
            lines = response.read().decode().splitlines()
        return any(
            line.startswith("voice_event_loop_lag_seconds_count ") and not line.endswith(" 0.0") for line in lines
        )

    with server_process(tmp_path) as server:
        wait_until(lambda: watched(server), "the lag of the loop is measured")


def test_g8_a_configuration_that_is_wrong_is_told_with_its_exit_code_and_no_worker(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("backends: {tone: {adapter: 7}}\nwhat: is this\n")
    with server_process(tmp_path, "--config", str(config)) as server:
        assert server.wait() == 78
        assert "Traceback" not in server.stderr
        assert "what" in server.stderr


def test_g8_a_server_without_any_backend_that_starts_says_so_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with server_process(tmp_path, load_fault="raise") as server:
        wait_until(lambda: server.get("/ready")[0] == 503 and "tone-0" in str(server.get("/ready")[1]), "it says why")
        server.send(signal.SIGTERM)
        assert server.wait() == 0
