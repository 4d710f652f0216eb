"""The files that a process opens, makes, renames or removes, written down as they are: a line of JSON each in $AUDIT.

Started as a program it is the gateway; named as an adapter it is the tone backend in a worker. Stands alone: workers
see nothing of the tests.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import Any

_TOUCHES = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink"}
_TOUCHES |= {"os.truncate", "os.rmdir", "os.chmod", "os.utime"}
_FOR_READING = ("open", "os.listdir", "os.scandir")

_file = os.open(os.environ["AUDIT"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_who = "gateway" if __name__ == "__main__" else "worker"


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _TOUCHES or isinstance(arguments[0], int):
        return
    writes = event not in _FOR_READING
    if event == "open":
        writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND))
    path = os.fsdecode(arguments[0]) if arguments[0] else "."
    os.write(_file, json.dumps({"who": _who, "event": event, "path": path, "writes": writes}).encode() + b"\n")


sys.addaudithook(_note)

if __name__ == "__main__":
    runpy.run_module("voice_server", run_name="__main__", alter_sys=True)
else:
    from voice_server.backends.tone import ToneBackend as AuditedTone  # noqa: F401  # the adapter
