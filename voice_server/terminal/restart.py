"""`restart`: the workers of a backend of a running server are replaced one by one; tells when that is done."""

from __future__ import annotations

import time

import msgspec

from voice_server.core.limits import TerminalLimits
from voice_server.terminal.arguments import tell
from voice_server.terminal.asking import ask

_LIMITS = TerminalLimits()


class Told(msgspec.Struct):
    """What POST and GET `/backends/NAME/restart` answer."""

    backend: str
    state: str
    replaced: int
    workers: int
    reason: str


def run_restart(url: str, token: str, backend: str) -> int:
    """Returns when it has ended: 0 if all workers are new. Raises CannotConnect."""
    path = f"/backends/{backend}/restart"
    told, replaced = ask(url, path, Told, token, method="POST"), -1
    while told.state == "running":
        if told.replaced > replaced:
            replaced = told.replaced
            tell(f"{told.backend}: {replaced} of {told.workers} workers replaced")
        time.sleep(_LIMITS.status_every_s)
        told = ask(url, path, Told, token)
    if told.state == "done":
        tell(f"{told.backend} was restarted")
        return 0
    tell(f"{told.backend} was not restarted, its old workers go on: {told.reason}")
    return 1
