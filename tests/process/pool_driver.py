"""What the tests of the worker pool share: a listener of single renders, odd workers, and a look at our own memory."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import websockets

from tests.harness import FAST_WORKER, TIMEOUT_S, Answer, RunningServer, eventually, read_answer
from voice_server.core.errors import VoiceError
from voice_server.pool.dispatcher import RenderRequest
from voice_server.pool.supervisor import SlotStatus
from voice_server.stream.backend import Backend
from voice_server.stream.recogniser import Recogniser
from voice_server.wire.messages import Done, Failed, Ready

EVIL = Path(__file__).parents[1] / "evil_worker.py"

# For tests that kill a slot again and again, and are not about giving it up.
HARDY_WORKER = replace(FAST_WORKER, crash_loop_starts=1000)

# For tests that count loads, and must not be hurried.
LOAD_S = 60.0  # of several at once, on a machine that is busy with other things
PATIENT = replace(FAST_WORKER, load_s=LOAD_S, ping_wait_s=10.0, first_chunk_s=20.0, chunk_gap_s=20.0)


class Listener:
    """A sentence that is rendered once and notes what it hears. Implements RenderSink."""

    def __init__(self, text: str = "Hello there.", **options: Any) -> None:
        self._request = RenderRequest(text, "", options)
        self.chars = len(text)
        self.audio = b""
        self.worker = ""
        self.ending: Done | Failed | VoiceError | str | None = None
        self.ended_at = 0.0

    def request(self) -> RenderRequest:
        return self._request

    def on_started(self, worker: str, ready: Ready) -> None:
        self.worker = worker

    def on_audio(self, pcm: bytes) -> None:
        self.audio += pcm

    def on_done(self, done: Done) -> bool:
        self._end(done)
        return True

    def on_failed(self, failed: Failed) -> None:
        self._end(failed)

    def on_lost(self, reason: str, pardon: Callable[[], None]) -> None:
        self._end(reason)

    def on_refused(self, error: VoiceError) -> None:
        self._end(error)

    def _end(self, ending: Done | Failed | VoiceError | str) -> None:
        assert self.ending is None, "an attempt ends once"
        self.ending = ending
        self.ended_at = time.monotonic()


def submit(backend: Backend, listener: Listener) -> Listener:
    dispatcher = backend.pool.dispatcher
    stream = dispatcher.open_stream(live=True)
    dispatcher.submit(stream, 0, listener)
    dispatcher.finish(stream)
    return listener


def only_slot(backend: Backend) -> SlotStatus:
    (slot,) = backend.pool.slots
    return slot


def pid_of(backend: Backend, worker: str) -> int:
    return next(slot.pid for slot in backend.pool.slots if slot.name == worker)


def named(backend: Backend | Recogniser, *states: str) -> list[str]:
    """The workers in these states."""
    return [slot.name for slot in backend.pool.slots if slot.state in states]


async def all_loaded(backend: Backend | Recogniser) -> None:
    """Which of them are spares is known only then: the first that loads goes to work."""

    def are_loaded() -> bool:
        return len(named(backend, "ready", "spare")) == len(backend.pool.slots)

    await eventually(are_loaded, "all workers are loaded", LOAD_S)


async def all_ready(backend: Backend, *, without: int, timeout_s: float = TIMEOUT_S) -> None:
    """Every slot has a worker, and none of them is the process `without`."""

    def are_ready() -> bool:
        return all(slot.state == "ready" and slot.pid != without for slot in backend.pool.slots)

    await eventually(are_ready, "every slot has a new worker", timeout_s)


async def start_of_render(ws: websockets.ClientConnection, server: RunningServer) -> int:
    """The process that starts to render the next sentence."""
    told = await read_answer(ws, until="generating")
    return pid_of(server.backend, told.of_type("generating")[-1]["worker"])


async def first_audio(ws: websockets.ClientConnection, pcm_bytes: int = 1) -> bytes:
    """The audio of the next messages: so much or a little more."""
    audio = b""
    while len(audio) < pcm_bytes:
        message = await asyncio.wait_for(ws.recv(), TIMEOUT_S)
        audio += message if isinstance(message, bytes) else b""
    return audio


def evil(case: str) -> tuple[str, ...]:
    """The command of a worker that always plays this case."""
    return sys.executable, "-I", str(EVIL), case


def evil_once(folder: Path, case: str) -> tuple[str, ...]:
    """The command of a worker that plays this case at its first start, and is honest from then on."""
    script = f"""mkdir '{folder}/once' 2>/dev/null && exec "$0" -I '{EVIL}' {case} "$@"
exec "$0" -I '{EVIL}' honest "$@" """
    return "/bin/sh", "-c", script, sys.executable


def resumes(answer: Answer) -> int:
    return len(answer.of_type("resumed"))


@contextmanager
def memory_growth() -> Iterator[Callable[[], float]]:
    """Gives MiB between the resident memory at the start and its peak since then."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak
    before_kib = _status_kib("VmRSS")
    yield lambda: (_status_kib("VmHWM") - before_kib) / 1024


def _status_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
