"""Starts a real worker process and talks to it over its socketpair, for the tests of the worker host.

Its adapter is the tone backend, or a file that a test writes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

import voice_server
from voice_server.backends.tone import tone_pcm
from voice_server.wire.conversation import Conversation, Side
from voice_server.wire.frames import FrameDecoder, encode
from voice_server.wire.messages import (
    Audio,
    Cancelled,
    Done,
    Failed,
    GatewayMessage,
    Hello,
    Load,
    LoadFailed,
    Message,
    Progress,
    Ready,
    Render,
)
from voice_server.worker.pcm import to_pcm

BOOTSTRAP = Path(voice_server.__file__).parent / "worker" / "bootstrap.py"
TONE = "voice_server.backends.tone:ToneBackend"
PATIENCE_S = 20.0
LOAD_S = 100.0  # an engine's libraries from a cold disk, on a busy machine
TEXT = "The quick brown fox jumps over the lazy dog."


def poll(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def expected(text: str = TEXT, voice: str = "tone", **options: float) -> bytes:
    return to_pcm(tone_pcm(text, voice, **options))  # type: ignore[arg-type]


def adapter_file(folder: Path, source: str, name: str = "adapter.py") -> str:
    path = folder / name
    path.write_text("import numpy as np\n" + textwrap.dedent(source))
    return str(path)


def adapter_class(folder: Path, render: str, extra: str = "") -> str:
    source = f"""
    class A:
        sample_rate = 16000
        def __init__(self, device): pass
        def voices(self): return ["v"]
        def render(self, text, voice, **options):
            {render}
    {extra}
    """
    return adapter_file(folder, source) + ":A"


class Worker:
    """The gateway's side: every message is checked by a real conversation."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, log: Path) -> None:
        self.process = process
        self.sock = sock
        self._log = log
        self._decoder = FrameDecoder()
        self._conversation = Conversation(Side.GATEWAY)
        self._inbox: list[Message] = []

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def is_at_frame_boundary(self) -> bool:
        return self._decoder.at_frame_boundary

    def say(self, message: GatewayMessage) -> None:
        self._conversation.gateway_says(message)
        self.sock.sendall(encode(message))

    def hear(self) -> Message:
        """The next message that anybody wants."""
        while not self._inbox:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(f"the worker left: {self.log}")
            heard = [self._conversation.worker_says(said) for said in self._decoder.feed(data)]  # type: ignore[arg-type]
            self._inbox += [message for message in heard if message is not None]
        return self._inbox.pop(0)

    def load(self, adapter: str = TONE, warmup_text: str = "", **options: Any) -> Ready | LoadFailed:
        patience_s = self.sock.gettimeout()
        self.sock.settimeout(LOAD_S)
        assert isinstance(self.hear(), Hello)
        self.say(Load(adapter, "cpu", options, warmup_text))
        while isinstance(message := self.hear(), Progress):
            pass
        self.sock.settimeout(patience_s)
        assert isinstance(message, (Ready, LoadFailed))
        return message

    def hear_render(self) -> tuple[bytes, Done | Failed | Cancelled]:
        """The audio up to the end of the only open render, and that end; signs of life are passed over."""
        pcm = b""
        while isinstance(message := self.hear(), (Audio, Progress)):
            pcm += message.pcm if isinstance(message, Audio) else b""
        assert isinstance(message, (Done, Failed, Cancelled))
        return pcm, message

    def hear_audio(self) -> Audio:
        """The first audio; signs of life before it are passed over."""
        while isinstance(message := self.hear(), Progress):
            pass
        assert isinstance(message, Audio)
        return message

    def render(self, text: str, voice: str = "", render_id: int = 1, **options: Any) -> tuple[bytes, Message]:
        self.say(Render(render_id, text, voice, options))
        return self.hear_render()

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def started(*command: str, python: str = sys.executable) -> Iterator[Worker]:
    """A worker process just started, by default the real one; it and all its descendants are gone afterwards."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE_S)
    with tempfile.TemporaryDirectory() as folder, ours:
        log = Path(folder) / "log"
        with theirs, log.open("wb") as output:
            process = subprocess.Popen(
                [python, "-I", *(command or [str(BOOTSTRAP)]), str(theirs.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            yield Worker(process, ours, log)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def loaded(adapter: str = TONE, *, python: str = sys.executable, **options: Any) -> Iterator[Worker]:
    with started(python=python) as worker:
        answer = worker.load(adapter, **options)
        assert isinstance(answer, Ready), answer
        yield worker
