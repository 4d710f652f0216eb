"""Log lines, for people or as JSON (one object a line), with the ids of the request, stream, worker it belongs to.

Promises: a line is written by a thread of its own, so that a full disk, a closed or a stopped terminal neither raises
into the server nor holds it up; what cannot be written is left out, and counted. No line holds a text of a client.
"""

from __future__ import annotations

import io
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from voice_server.core.errors import VoiceError
from voice_server.core.limits import LogLimits
from voice_server.core.report import AnswerReport, HearingReport, Origin

FORMATS = ("text", "json")
NO_REQUEST = "-"

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_OURS = "voice_server"
_answers = logging.getLogger("voice_server.answers")


@dataclass(slots=True)
class Request:
    """What is being answered. Tasks that it starts belong to it."""

    id: str = NO_REQUEST
    trace: str = ""  # its header `traceparent`
    door: Callable[[], str] = str  # known as soon as it was routed
    client: Callable[[], str] = str  # whose token it showed, or its address
    status: str = "left"  # of HTTP, or the close code; "left" where its client went first, or was cut off
    code: str = ""  # of the error that it ended with


_NOBODY = Request()
current: ContextVar[Request] = ContextVar("request", default=_NOBODY)


def note(error: VoiceError) -> None:
    """The request that is being answered ends with this error."""
    if (request := current.get()) is not _NOBODY:
        request.code = error.code


def set_up_logs(level: str, form: str) -> None:
    """Everything goes to standard error. The level is that of our own loggers: below a warning, those of others tell
    of headers, of addresses with their queries, and at the lowest level of every message."""
    if sys.stderr is None:  # closed by who started us: its number must not become that of a client's socket
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives
    handler = PatientHandler(_standard_error(), LogLimits())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    chosen = logging.getLevelName(level.upper())
    logging.basicConfig(level=max(logging.WARNING, chosen), handlers=[handler])
    logging.getLogger(_OURS).setLevel(chosen)


def _standard_error() -> int:
    """Who calls us as a function may have put something without a number in its place."""
    try:
        return sys.stderr.fileno()
    except io.UnsupportedOperation:
        return 2


def let_go() -> None:
    """At the end: what a full disk did not take is no reason for Python to end with a failure."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def tell_answer(origin: Origin, report: AnswerReport | HearingReport) -> None:
    """One line for each answer and each hearing, when it has ended."""
    what = "answer" if isinstance(report, AnswerReport) else "hearing"
    marks = {"stream": origin.stream or None, "door": origin.door, "client": origin.client, "backend": origin.backend}
    extra = {"request_id": origin.request_id, **marks, "voice": origin.voice, **report.figures}
    _answers.info("%s %s", what, report.state, extra={name: value for name, value in extra.items() if value != ""})


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00,123 INFO [request] logger: message name=value …`"""

    def format(self, record: logging.LogRecord) -> str:
        marks = "".join(f" {name}={_word(value)}" for name, value in _marks_of(record).items())
        head = f"{self.formatTime(record)} {record.levelname} [{_request_of(record)}] {record.name}"
        problem = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{head}: {record.getMessage()}{marks}{problem}"


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if (request_id := _request_of(record)) != NO_REQUEST:
            line["request_id"] = request_id
        line.update(_marks_of(record))
        if record.exc_info:
            line["exc"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PatientHandler(logging.Handler):
    def __init__(self, fd: int, limits: LogLimits) -> None:
        super().__init__()
        self._fd = fd
        self._limits = limits
        self._lines: queue.Queue[bytes] = queue.Queue(limits.waiting_lines)
        self._left_out = 0
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record).encode(errors="backslashreplace") + b"\n")
        except queue.Full:
            self._left_out += 1
        except (TypeError, ValueError, KeyError):
            self.handleError(record)  # arguments that do not fit their message: ours to mend
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="log writer", daemon=True)
            self._writer.start()

    def flush(self) -> None:
        """Returns when all is written, or when it seems that nobody reads."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(lambda: not self._lines.unfinished_tasks, self._limits.flush_s)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            self._write(line)
            if left_out := self._left_out:
                self._left_out -= left_out
                self._write(b"%d log lines were left out: nobody read them\n" % left_out)
            self._lines.task_done()

    def _write(self, line: bytes) -> None:
        try:
            while line:
                line = line[os.write(self._fd, line) :]
        except OSError:  # a full disk, or nobody there: the next line may have more luck
            self._left_out += 1


def _request_of(record: logging.LogRecord) -> str:
    return str(getattr(record, "request_id", current.get().id))


def _marks_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {
        name: value
        for name, value in record.__dict__.items()
        if name not in _STANDARD and name != "request_id" and value is not None
    }


def _word(value: Any) -> str:
    text = str(value)
    return json.dumps(text) if not text or any(char in text for char in ' "=\n') else text
