"""Tells the person who started the server what it is doing until it can speak, and then how to begin.

Lines that programs may search; one screen when the first backend is ready; one line for each later one.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from voice_server.core.errors import BackendUnavailable
from voice_server.core.limits import TerminalLimits
from voice_server.pool.pool import Pool
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.terminal.welcome import Speaking, Start, silence, welcome
from voice_server.wire.messages import Ready

Announce = Callable[[str | Text], None]

_NAMED = 3  # workers in one line
_CHECKOUT = Path(__file__).resolve().parents[2]  # where client.py is; a wheel has none


class StandardError(Console):
    """Colours on a terminal, plain text elsewhere, no line cut. Who read it may leave: the server stays."""

    def __init__(self) -> None:
        super().__init__(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)

    def print(self, *objects: Any, **how: Any) -> None:
        with suppress(OSError):  # a full disk is no reason not to serve
            super().print(*objects, **how)

    def on_broken_pipe(self) -> None:
        self.quiet = True  # rich itself would end the program


@dataclass(slots=True)
class Announcer:
    start: Start
    reasons: Mapping[str, str]  # why each backend runs
    report: Announce
    opens_browser: bool = False
    limits: TerminalLimits = field(default_factory=TerminalLimits)
    has_welcomed: bool = False

    async def run(self, backends: Sequence[Backend], recognisers: Sequence[Recogniser] = ()) -> None:
        """Ends when each backend has become ready or has failed."""
        listening = (self._follow_listener(recogniser) for recogniser in recognisers)
        await asyncio.gather(*(self._follow(backend) for backend in backends), *listening)
        if not self.has_welcomed:
            self.report(silence(self.start))

    async def _follow(self, backend: Backend) -> None:
        ready = await self._until_ready(backend.pool, "speak")
        if ready is None:
            return
        voices = "1 voice" if len(ready.voices) == 1 else f"{len(ready.voices)} voices"
        self.report(f"{backend.name} is ready: {voices}, {ready.sample_rate} Hz")
        if not self.has_welcomed:
            self.has_welcomed = True
            self._welcome(backend, can_clone=ready.can_clone)

    async def _follow_listener(self, recogniser: Recogniser) -> None:
        ready = await self._until_ready(recogniser.pool, "listen")
        if ready is not None:
            languages = "1 language" if len(ready.languages) == 1 else f"{len(ready.languages)} languages"
            self.report(f"{recogniser.name} is ready: it listens, {languages}")

    async def _until_ready(self, pool: Pool[Any], purpose: str) -> Ready | None:
        """None when it has failed, which is said."""
        telling = asyncio.create_task(self._tell_stages(pool))
        try:
            return await pool.until_ready()
        except BackendUnavailable:
            self.report(f"{pool.name} cannot {purpose}: {pool.problem}")
            return None
        finally:
            telling.cancel()

    async def _tell_stages(self, pool: Pool[Any]) -> None:
        """What takes longer than a look: a node with room may be long in coming, a download may take an hour."""
        told: set[tuple[str, str]] = set()
        while True:
            await asyncio.sleep(self.limits.status_every_s)
            busy = {(slot.detail, slot.name) for slot in pool.slots if slot.state in ("waiting", "loading")}
            for line in stages(busy - told):
                self.report(line)
            told |= busy

    def _welcome(self, backend: Backend, *, can_clone: bool) -> None:
        reason, rate = self.reasons[backend.name], backend.sample_rate or 0
        self.report(welcome(self.start, Speaking(backend.name, reason, rate, backend.voices, can_clone)))
        if self.opens_browser:
            # Not in asyncio's threads: some browsers return when they are closed, and the end waits for those threads.
            threading.Thread(target=self._open, daemon=True).start()

    def _open(self) -> None:
        if not webbrowser.open(self.start.url):
            self.report(f"there is no browser here: open {self.start.url} yourself")


def stages(news: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each stage with the names of the workers that are at it; "" is none."""
    at: dict[str, list[str]] = {}
    for stage, name in sorted(news):
        at.setdefault(stage, []).append(name)
    return [f"{_names(names)}: {stage}" for stage, names in at.items() if stage]


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def how_to_run(environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """How this Python is run from a shell, and how client.py is; "" where there is no client.py."""
    script = _CHECKOUT / "client.py"
    path = _short(script) if script.is_file() else ""
    if "UV_RUN_RECURSION_DEPTH" in environ:  # `uv run` says so to what it runs
        return "uv run --no-dev python", path and f"uv run --no-dev {path}"
    python = _short(Path(sys.executable))
    return python, path and f"{python} {path}"


def _short(path: Path) -> str:
    """As it is typed in the folder where the server was started."""
    with suppress(ValueError):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))
