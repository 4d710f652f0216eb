"""What a worker printed: the last bytes are kept for its obituary, some lines go to our log, none can hurt us.

Engines print progress bars, binary, a line without end, hundreds of megabytes. Lines are cut, escaped and limited per
second; what was left out is counted.
"""

from __future__ import annotations

import logging

from voice_server.core.limits import WorkerLimits

_log = logging.getLogger("voice_server.worker")


class WorkerLog:
    def __init__(self, name: str, limits: WorkerLimits) -> None:
        self._name = name
        self._limits = limits
        self._kept = bytearray()
        self._line = bytearray()  # the open line, never longer than the limit
        self._second = 0
        self._lines = 0  # logged in this second
        self._skipped = 0

    def feed(self, data: bytes, now: float) -> None:
        self._kept += data[-self._limits.log_bytes :]
        del self._kept[: -self._limits.log_bytes]
        if int(now) != self._second:
            self._next_second(int(now))
        *lines, rest = data.split(b"\n", self._limits.log_lines_per_s - self._lines)
        for line in lines:
            self._end_line(line)
        self._keep_open(rest)

    def tail(self, lines: int = 20) -> str:
        """The last lines, printable."""
        return "\n".join(_printable(line) for line in bytes(self._kept).splitlines()[-lines:])

    def _end_line(self, line: bytes) -> None:
        """Empty lines count too: a flood of them costs as much."""
        whole = bytes(self._line) + line[: self._limits.log_line_bytes - len(self._line)]
        self._line.clear()
        self._lines += 1
        if text := _printable(whole).strip():
            _log.info("%s: %s", self._name, text, extra={"worker": self._name})

    def _keep_open(self, data: bytes) -> None:
        """What is behind the last line that may be logged. Only counted: splitting a flood would cost too much."""
        if too_many := data.count(b"\n"):
            self._skipped += too_many
            self._line.clear()
            data = data[data.rfind(b"\n") + 1 :]
        self._line += data[: self._limits.log_line_bytes - len(self._line)]

    def _next_second(self, second: int) -> None:
        if self._skipped:
            _log.info("%s: %d more lines were not logged", self._name, self._skipped, extra={"worker": self._name})
        self._second, self._lines, self._skipped = second, 0, 0


def _printable(line: bytes) -> str:
    text = line.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text.rstrip("\r\n"))
