from __future__ import annotations

import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness import wait_until
from voice_server.core.errors import SlowClient
from voice_server.core.limits import LogLimits
from voice_server.core.report import AnswerReport, Origin
from voice_server.logs import JsonFormatter, PatientHandler, Request, TextFormatter, current, note, tell_answer

LIMITS = LogLimits(waiting_lines=10, flush_s=5.0)


@contextmanager
def log_to(fd: int, form: logging.Formatter, limits: LogLimits = LIMITS) -> Iterator[logging.Logger]:
    log, handler = logging.getLogger("voice_server.answers"), PatientHandler(fd, limits)
    handler.setFormatter(form)
    log.addHandler(handler)
    level, log.propagate = log.level, False  # pytest keeps what it sees, and xdist cannot send a lone surrogate
    log.setLevel(logging.INFO)
    try:
        yield log
        handler.flush()
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = True


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    read_fd, write_fd = os.pipe()
    try:
        yield read_fd, write_fd
    finally:
        os.close(read_fd)
        os.close(write_fd)


def logged(form: logging.Formatter, *lines: str, **extra: object) -> list[str]:
    with pipe() as (read_fd, write_fd):
        with log_to(write_fd, form) as log:
            for line in lines:
                log.info(line, extra=extra)
        return os.read(read_fd, 65536).decode().splitlines()


def test_a_json_line_has_the_ids_that_are_known_and_no_others() -> None:
    token = current.set(Request("call-7"))
    try:
        line = json.loads(logged(JsonFormatter(), "hello", stream=3, worker=None)[0])
    finally:
        current.reset(token)
    assert line.pop("ts").endswith("+00:00")
    assert line == {
        "level": "info", "logger": "voice_server.answers", "msg": "hello", "request_id": "call-7", "stream": 3
    }  # fmt: skip


def test_json_has_one_line_whatever_is_logged() -> None:
    assert len(logged(JsonFormatter(), "two\nlines \ud800")) == 1


def test_an_exception_is_a_string_in_its_line() -> None:
    with pipe() as (read_fd, write_fd):
        with log_to(write_fd, JsonFormatter()) as log:
            try:
                raise ValueError("why")
            except ValueError:
                log.exception("failed")
        line = json.loads(os.read(read_fd, 65536))
    assert line["exc"].startswith("Traceback") and line["exc"].endswith("ValueError: why")


def test_a_line_for_people_ends_with_what_is_known_by_name() -> None:
    line = logged(TextFormatter(), "hello", stream=3, door="WS /stream-tokens")[0]
    assert line.endswith('INFO [-] voice_server.answers: hello stream=3 door="WS /stream-tokens"')


def test_an_answer_is_one_line_with_its_figures_and_without_its_text() -> None:
    report = AnswerReport(state="done", began_at=1.0, ended_at=3.0, sentences=2, chars=40, audio_s=2.5)
    report.first_audio_s, report.queue_wait_s = 0.1234, 0.01
    with pipe() as (read_fd, write_fd):
        with log_to(write_fd, JsonFormatter()):
            tell_answer(Origin("tone", 7, "WS /stream-tokens", "10.0.0.1", "low", True, "call-7"), report)
        line = json.loads(os.read(read_fd, 65536))
    del line["ts"], line["level"], line["logger"]
    assert line == {
        "msg": "answer done", "request_id": "call-7", "stream": 7, "door": "WS /stream-tokens", "client": "10.0.0.1",
        "backend": "tone", "voice": "low", "state": "done", "sentences": 2, "chars": 40, "audio_s": 2.5,
        "duration_s": 2.0, "queue_wait_ms": 10, "first_audio_ms": 123, "gaps": 0, "gap_s": 0.0, "retries": 0,
    }  # fmt: skip


def test_f7_a_full_disk_raises_nothing() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with log_to(fd, TextFormatter()) as log:
            for number in range(5):
                log.info("line %d", number)
    finally:
        os.close(fd)


def test_f7_a_closed_standard_error_raises_nothing() -> None:
    with pipe() as (_, write_fd):
        closed = os.dup(write_fd)
    os.close(closed)
    with log_to(closed, TextFormatter()) as log:
        log.info("nobody is there")


def test_f7_who_does_not_read_holds_nobody_up_and_is_told_how_much_was_left_out() -> None:
    with pipe() as (read_fd, write_fd):
        with log_to(write_fd, TextFormatter()) as log:
            for _ in range(100):  # a pipe holds 64 KiB
                log.info("x" * 4096)
            told, written, left_out = b"", 0, 0
            while written + left_out < 100:
                told += os.read(read_fd, 65536)
                written = told.count(b"xxxx\n")
                left_out = sum(map(int, re.findall(rb"(\d+) log lines were left out", told)))
    assert min(written, left_out) >= 10


def test_a_message_that_does_not_fit_its_arguments_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    with pipe() as (_, write_fd):
        PatientHandler(write_fd, LIMITS).emit(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    assert "no number" in told.getvalue()


def test_the_error_that_ends_a_request_is_noted_on_it_and_on_no_other() -> None:
    note(SlowClient("nobody asks"))
    request = Request("one")
    token = current.set(request)
    note(SlowClient("too slow"))
    current.reset(token)
    assert (request.code, current.get().code) == ("slow_client", "")


def test_lines_are_written_in_their_order() -> None:
    with pipe() as (read_fd, write_fd):
        with log_to(write_fd, TextFormatter(), LogLimits()) as log:
            for number in range(200):
                log.info("line %d.", number)
        told = os.read(read_fd, 65536).decode()
    assert [line.rsplit(" ", 1)[1] for line in told.splitlines()] == [f"{number}." for number in range(200)]


def test_the_writer_starts_with_the_first_line() -> None:
    before = threading.active_count()
    with pipe() as (_, write_fd):
        handler = PatientHandler(write_fd, LIMITS)
        assert threading.active_count() == before
        handler.emit(logging.makeLogRecord({"msg": "hello"}))
        wait_until(lambda: threading.active_count() > before, "a thread writes")
        handler.flush()
