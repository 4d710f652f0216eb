"""A port as another runtime runs it: `python -m voice_server port …` as a child, and its two pipes."""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import psutil

from voice_server.ports.packets import PacketDecoder, packet

HOME = Path(__file__).parents[2]
OVER = object()  # in the place of a message: there will be none any more
PATIENCE_S = 100.0  # two interpreters have to start, on a busy machine
AT_ONCE_S = 10.0  # an ending takes 2 s at most; the rest is a busy machine

TONE = "voice_server.backends.tone:ToneBackend"
PITCH = "voice_server.backends.pitch:PitchRecogniser"
OPTS = {
    "tone": {
        "speed": {"type": "float", "min": 0.25, "max": 4.0, "default": 1.0},
        "fault": {"type": "str", "default": ""},
    },
    "pitch": {"fault": {"type": "str", "default": ""}},
}


class PortProcess:
    """`encode` and `decode` make messages of packets, for the protocol of the port."""

    def __init__(self, process: subprocess.Popen[bytes], name: str) -> None:
        self._process = process
        self._is_bridge = name == "voxcpmex"
        self._messages: queue.Queue[Any] = queue.Queue()
        self._stderr: list[bytes] = []
        self._readers = [threading.Thread(target=read) for read in (self._read, self._read_stderr)]
        for reader in self._readers:
            reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stderr(self) -> str:
        return b"".join(self._stderr).decode(errors="replace")

    # Talking

    def say(self, **message: Any) -> None:
        self.say_body(msgpack.packb(message) if self._is_bridge else json.dumps(message).encode())

    def say_body(self, body: bytes) -> None:
        self.say_bytes(packet(body, counts_itself=self._is_bridge))

    def say_bytes(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        message = self._messages.get(timeout=PATIENCE_S)
        assert message is not OVER, f"the port has ended: {self.stderr}"
        heard: dict[str, Any] = message
        return heard

    def hear_until(self, is_last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        messages = [self.hear()]
        while not is_last(messages[-1]):
            messages.append(self.hear())
        return messages

    def hear_rest(self) -> list[dict[str, Any]]:
        """All that comes until it closes its pipe."""
        return list(iter(lambda: self._messages.get(timeout=PATIENCE_S), OVER))

    # Ending

    def hang_up(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        code = self._process.wait(timeout_s)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    # Reading

    def _read(self) -> None:
        assert self._process.stdout
        decoder = PacketDecoder(2**32, counts_itself=self._is_bridge)
        while data := self._process.stdout.read1(2**16):  # type: ignore[attr-defined]
            for body in decoder.feed(data):
                self._messages.put(msgpack.unpackb(body) if self._is_bridge else json.loads(body))
        self._messages.put(OVER)

    def _read_stderr(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._stderr.append(line)


def write_config(
    folder: Path, backend: str, adapter: str = "", opts: dict[str, Any] | None = None, **options: Any
) -> Path:
    """A configuration with this backend, `tone` or `pitch` unless another adapter is named."""
    shipped = {"tone": (TONE, "tts"), "pitch": (PITCH, "stt")}.get(backend, ("", "tts"))
    told = {"kind": shipped[1], "adapter": adapter or shipped[0], "options": options}
    opts = OPTS.get(backend, {}) | (opts or {})
    path = folder / "port.yaml"
    path.write_text(json.dumps({"backends": {backend: {**told, "opts": opts}}}))  # JSON is YAML
    return path


@contextmanager
def port_process(name: str, folder: Path, config: Path, *flags: str) -> Iterator[PortProcess]:
    """The port `name` in `folder`, where its voice_samples are."""
    command = [sys.executable, "-m", "voice_server", "port", name, "--config", str(config), *flags]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environ = {**os.environ, "PYTHONPATH": str(HOME), "TMPDIR": str(folder)}
    process = subprocess.Popen(command, cwd=folder, env=environ, **pipes)
    port = PortProcess(process, name)
    try:
        yield port
    finally:
        with suppress(OSError):
            port.hang_up()  # it ends with who started it
        try:
            port.wait()
        finally:
            process.kill()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            with suppress(BrokenPipeError):  # it holds words that nobody will read
                pipe.close()


def ends_at_once(port: PortProcess) -> int:
    """The exit code; fails when it takes long, or leaves a process behind."""
    began = time.monotonic()
    family = port.family() if psutil.pid_exists(port.pid) else []
    code = port.wait(AT_ONCE_S)
    psutil.wait_procs(family, max(0.1, began + AT_ONCE_S - time.monotonic()))
    assert not [child for child in family if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    return code


def is_worker(process: psutil.Process) -> bool:
    try:
        return any("bootstrap.py" in part for part in process.cmdline())
    except psutil.Error:  # it ended meanwhile
        return False


def samples_b64(pcm: bytes) -> str:
    """PCM s16le as base64 of f32le."""
    return base64.b64encode((np.frombuffer(pcm, "<i2") / np.float32(32767)).astype("<f4").tobytes()).decode()


def pcm_of_f32(data: bytes) -> bytes:
    """What was PCM s16le before it became f32le."""
    pcm: bytes = np.rint(np.frombuffer(data, "<f4") * 32768).astype("<i2").tobytes()
    return pcm


def header(length: int) -> bytes:
    return struct.pack(">I", length)
