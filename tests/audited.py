"""A gateway in a process of its own, and its worker, whose every touch of a file is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import voice_server
from tests.server_process import HOME, ServerProcess

_HOOK = HOME / "tests" / "audit_hook.py"


@dataclass(frozen=True, slots=True)
class Touch:
    who: str  # gateway, or worker
    event: str
    path: str
    writes: bool


@dataclass
class Audited:
    server: ServerProcess
    folder: Path  # in which it was started
    _log: Path
    _code: tuple[str, ...]  # folders of programs and what they import

    def touches(self) -> list[Touch]:
        """All, so far, in the order of time; what is imported is not among them."""
        lines = self._log.read_text().splitlines()
        touches = [Touch(**json.loads(line)) for line in lines]
        return [touch for touch in touches if touch.writes or not touch.path.startswith(self._code)]


@contextmanager
def audited(folder: Path, python: Path, *flags: str) -> Iterator[Audited]:
    """`folder` is where it is started, and may have voice_samples; `python` is that of the tone backend."""
    log, config = folder / "audit.jsonl", folder / "tone.yaml"
    opts = {"fault": {"type": "str", "default": ""}}
    backend = {"adapter": f"{_HOOK}:AuditedTone", "venv": {"path": str(python.parents[1])}, "opts": opts}
    config.write_text(json.dumps({"default": "audited", "backends": {"audited": backend}}))  # JSON is YAML
    code = {
        sys.prefix,
        sys.base_prefix,
        str(python.parents[1]),
        *map(str, voice_server.__path__),
        *filter(None, sys.path),
    }
    own = {
        "PYTHONPATH": str(HOME),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AUDIT": str(log),
        "VOICE_SERVER_HOME": str(folder / "home"),
    }
    command = [sys.executable, str(_HOOK), "--config", str(config), "--port", "0", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **own}, cwd=folder)
    try:
        yield Audited(ServerProcess(process), folder, log, tuple(code))
    finally:
        process.kill()
        process.wait()
        if process.stderr:
            process.stderr.close()
