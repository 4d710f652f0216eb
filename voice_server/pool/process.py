"""One operating-system process per worker: spawn, watch, kill, bury. The only place that knows signals and pidfds.
Also runs the programs that live for one piece of work.

Facts this is built on (Linux): `Process.wait()` of asyncio may never return after a kill (CPython #119710), so exits
are seen through a pidfd; a worker's children keep its pipes open after its death, so the whole process group is killed
and no one waits for an end-of-file; an unread stderr blocks an engine after 64 KiB, so it is always drained.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

_READ_BYTES = 256 * 1024
_NOT_FOR_WORKERS = ("PYTHON", "VIRTUAL_ENV", "VOICE_SERVER_", "LLM_", "CUDA_VISIBLE_DEVICES", "RAY_")
_LOG_PIPE_BYTES = 1024 * 1024  # 16 times the usual: a flood stops its worker at each pipe until we have a turn


@dataclass(frozen=True, slots=True)
class Command:
    """How a worker is started; the socket's file descriptor and our pid are appended to `argv`."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)  # complete: nothing is inherited


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What other programs may see of our environment: no secrets of ours, no path to our packages, no GPU."""
    return {key: value for key, value in environ.items() if not key.startswith(_NOT_FOR_WORKERS)}


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended."""

    returncode: int = 0
    lost: str = ""  # where nobody saw its return code: what became of it, in words

    @property
    def cause(self) -> str:
        """One of core.status.DEATHS."""
        return "killed" if self.lost or self.returncode < 0 else "exited"

    @property
    def reason(self) -> str:
        """In words, for the log and for `/ready`."""
        if self.lost:
            return self.lost
        if self.returncode == -signal.SIGKILL:
            return "was killed by SIGKILL, perhaps out of memory"
        if self.returncode < 0:
            with contextlib.suppress(ValueError):
                return f"was killed by {signal.Signals(-self.returncode).name}"
        return f"exited with code {self.returncode}"


class Guardian:
    """Launches workers here, and ends every one's process group when this process is gone, however it went."""

    def __init__(self) -> None:
        read_fd, self._pipe = os.pipe()
        script = Path(__file__).with_name("guardian.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script), str(read_fd)],
            pass_fds=(read_fd,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is not meant for it
        )
        os.close(read_fd)

    async def launch(
        self,
        command: Command,
        on_log: Callable[[bytes], None],
        on_exit: Callable[[Exit], None],
        on_stage: Callable[[str], None],
    ) -> WorkerProcess:
        """Raises OSError when there is nothing to execute. It takes no time, so there are no stages to tell."""
        return WorkerProcess(command, self, on_log, on_exit)

    def watch(self, group: int) -> None:
        self._tell(group)

    def release(self, group: int) -> None:
        self._tell(-group)

    def close(self) -> None:
        os.close(self._pipe)
        self._process.wait()

    def _tell(self, number: int) -> None:
        # Workers also ask the kernel to die with us, so a guardian that was killed is no reason to stop.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"%d\n" % number)


class WorkerProcess:
    """A running process in its own session. `on_exit` is called once, on the event loop.

    Must be made on a thread that outlives it: the kernel's parent-death signal is tied to the spawning *thread*.
    """

    host = ""

    def __init__(
        self, command: Command, guardian: Guardian, on_log: Callable[[bytes], None], on_exit: Callable[[Exit], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._guardian = guardian
        self._on_log = on_log
        self._on_exit = on_exit
        self.socket, theirs = socket.socketpair()
        self._log_fd, log_write_fd = _wide_pipe()
        try:
            self._popen = subprocess.Popen(
                [*command.argv, str(theirs.fileno()), str(os.getpid())],
                env=command.env,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log_write_fd,
                stderr=log_write_fd,
                start_new_session=True,  # its own process group, to be killed as one
            )
        except OSError:
            self.socket.close()
            os.close(self._log_fd)
            raise
        finally:
            theirs.close()
            os.close(log_write_fd)
        self.pid = self._popen.pid
        guardian.watch(self.pid)
        os.set_blocking(self._log_fd, False)
        self._loop.add_reader(self._log_fd, self._read_log)
        self._watch_exit()

    def kill(self) -> None:
        """SIGKILL the whole group: the only signal that also ends a stopped process."""
        if self._popen.returncode is None:
            self._signal_group(signal.SIGKILL)

    def dump_stack(self) -> None:
        """Ask the worker to write its Python stacks to its log."""
        if self._popen.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGUSR2)

    def _watch_exit(self) -> None:
        if hasattr(os, "pidfd_open"):
            self._pidfd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._pidfd, self._exited)
        else:  # not Linux: one waiting thread per worker
            self._pidfd = -1
            threading.Thread(target=self._wait_in_thread, daemon=True).start()

    def _wait_in_thread(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self._loop.call_soon_threadsafe(self._exited)

    def _exited(self) -> None:
        # Not reaped yet, so the group's id cannot have been given to anyone else.
        self._signal_group(signal.SIGKILL)
        returncode = self._popen.wait()
        self._guardian.release(self.pid)
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        self._read_log()
        self._close_log()
        self._on_exit(Exit(returncode))

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _read_log(self) -> None:
        try:
            data = os.read(self._log_fd, _READ_BYTES) if self._log_fd >= 0 else b""
        except BlockingIOError:
            return
        if data:
            self._on_log(data)
        else:
            self._close_log()

    def _close_log(self) -> None:
        if self._log_fd >= 0:
            self._loop.remove_reader(self._log_fd)
            os.close(self._log_fd)
            self._log_fd = -1


def _wide_pipe() -> tuple[int, int]:
    ends = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # more than this user may have
            fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, _LOG_PIPE_BYTES)
    return ends


def run_once(command: Command, timeout_s: float, most: int) -> bytes:
    """What a program prints, up to `most` bytes; b"" where it failed, printed more, or took too long. Blocks.

    Its process group is gone when this returns, whatever it started.
    """
    process = subprocess.Popen(
        command.argv,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    end = threading.Timer(timeout_s, _kill_group, [process.pid])
    end.start()
    try:
        with process:
            told = _read_to_end(process, most)
            _kill_group(process.pid)  # not reaped yet, so the group's id cannot have been given to anyone else
    finally:
        end.cancel()
    return told if process.returncode == 0 and len(told) <= most else b""


class Printing:
    """A program that reads a file and prints more than is kept: read it, and `end` it. All of it blocks."""

    def __init__(self, command: Command, file: BinaryIO) -> None:
        self._process = subprocess.Popen(
            command.argv,
            env=command.env,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def read(self, most: int) -> bytes:
        """Some of what it prints, as soon as it does; b"" at its end."""
        assert isinstance(self._process.stdout, io.BufferedReader)
        return self._process.stdout.read1(most)

    def exit_code(self) -> int:
        """When it has printed everything."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return self.end()

    def end(self) -> int:
        """Whatever it still does, nothing of it is left."""
        if self._process.returncode is None:
            _kill_group(self._process.pid)
        with self._process:
            return self._process.wait()


def _read_to_end(process: subprocess.Popen[bytes], most: int) -> bytes:
    """All that it prints before it exits; or more than `most` bytes, and it may go on."""
    told = process.stdout.read(most + 1) if process.stdout else b""
    if len(told) <= most:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return told


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
