"""Faults that the tone backend plays on request, so that every way in which an engine fails can be tested for real.

A fault is written `name`, `name@chunk`, `name:argument` or `name@chunk:argument`: it strikes before that chunk of the
render, counted from 0.

    die@3            SIGKILL, as from the kernel's OOM killer      raise@1         an exception
    hang@1           sleeps for ever                               oom@1           an exception like CUDA's
    hang_gil@1:2.5   holds the GIL in C for 2.5 s                  fatal@1         an exception, the engine is gone
    stderr@1:20      20 MB of binary noise in one endless line     nan@1           that chunk is all NaN
    print@1:1        1 MB to stdout, half print(), half C          empty           no audio at all
    spawn@1          a grandchild that holds the worker's pipes    babble          never ends
    silence          nothing but silence                           inf@1           that chunk is all infinity
    hush             silence that never ends
    short            0.5 ms of sound                               clip            four times too loud: a square wave
    ignore_cancel:3  takes 3 s to let go of a render           shrink@1:2      holds 2 renders from then on

Loading knows `die`, `hang`, `hang_gil`, `raise`, `oom`, `stderr`, `print`, `spawn` and also
    config           a configuration error      import     a missing package
    syntax           a typing error             exit78     leaves without a word

`once=FILE;fault` strikes only if FILE can be created, so that the second try succeeds. `while=FILE;fault` strikes as
long as FILE exists.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Dict

import numpy as np

from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MEGABYTE = 1_000_000
_NOISE = b"\x00\xff\xfe\x1b[31mred\x1b[2J\xc3\x28 no newline " * 1000


@dataclass(frozen=True)
class Fault:
    """What is planned for one render."""

    name: str = ""
    chunk: int = 0
    argument: str = ""

    @property
    def is_endless(self) -> bool:
        return self.name in ("babble", "hush")

    def strike(self, chunk: int) -> None:
        """Play the fault if it is due before this chunk."""
        if chunk == self.chunk and self.name in _STRIKES:
            _STRIKES[self.name](self.argument)

    def spoil(self, chunk: int, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples that come out instead of these."""
        if self.name in _OF_THE_WHOLE:
            return _OF_THE_WHOLE[self.name](chunk, samples)
        if self.name in _NO_NUMBERS and chunk == self.chunk:
            return np.full_like(samples, _NO_NUMBERS[self.name])
        return samples

    def holds(self, chunk: int, capacity: int) -> int:
        """Renders that the engine can hold from this chunk on, where it could hold so many."""
        return int(self.argument) if self.name == "shrink" and chunk == self.chunk else capacity

    def linger(self) -> None:
        if self.name == "ignore_cancel":
            time.sleep(float(self.argument))


def plan(text: str) -> Fault:
    """The fault that `text` describes, if its condition holds. Raises BackendError if it describes none."""
    condition, _, rest = text.rpartition(";")
    if not rest or not _holds(condition):
        return Fault()
    head, _, argument = rest.partition(":")
    name, _, chunk = head.partition("@")
    if name not in {*_STRIKES, *_NO_NUMBERS, *_OF_THE_WHOLE, "babble", "ignore_cancel", "shrink"}:
        raise BackendError("bad_option", f"no fault {name!r}")
    return Fault(name, int(chunk or 0), argument)


def fail_load(text: str) -> None:
    """Play a fault of loading."""
    plan(text).strike(0)


def _holds(condition: str) -> bool:
    kind, _, path = condition.partition("=")
    if kind == "once":
        return _create(Path(path))
    return not kind or Path(path).exists()


def _create(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _die(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang(_: str) -> None:
    while True:
        time.sleep(3600)


def _hang_holding_the_gil(seconds: str) -> None:
    ctypes.PyDLL(None).usleep(int(float(seconds) * 1_000_000))  # PyDLL, unlike CDLL, keeps the GIL during the call


def _flood_stderr(megabytes: str) -> None:
    for _ in range(int(float(megabytes or 1) * _MEGABYTE / len(_NOISE)) + 1):
        os.write(2, _NOISE)


def _print(megabytes: str) -> None:
    line = "an engine that prints \ud800 \u2603 " * 40
    libc = ctypes.CDLL(None)
    for _ in range(int(float(megabytes or 1) * _MEGABYTE / 2 / len(line)) + 1):
        print(line)
        libc.puts(line.encode("utf-8", "replace"))
    libc.fflush(None)


def _spawn(_: str) -> None:
    subprocess.Popen(["sleep", "60"])


def _raise(error: Callable[[], Exception]) -> Callable[[str], None]:
    def raise_it(_: str) -> None:
        raise error()

    return raise_it


def _exit(_: str) -> None:
    os._exit(78)


_NO_NUMBERS = {"nan": np.nan, "inf": np.inf}
_SHORT_SAMPLES = 12

_OF_THE_WHOLE: Dict[str, Callable[[int, NDArray[np.float32]], NDArray[np.float32]]] = {
    "empty": lambda chunk, samples: samples[:0],
    "silence": lambda chunk, samples: np.zeros_like(samples),
    "hush": lambda chunk, samples: np.zeros_like(samples),
    "clip": lambda chunk, samples: np.sign(samples) * np.float32(4.0),
    "short": lambda chunk, samples: samples[: 0 if chunk else _SHORT_SAMPLES],
}

_STRIKES: Dict[str, Callable[[str], None]] = {
    "die": _die,
    "hang": _hang,
    "hang_gil": _hang_holding_the_gil,
    "stderr": _flood_stderr,
    "print": _print,
    "spawn": _spawn,
    "raise": _raise(lambda: RuntimeError("a scripted failure")),
    "oom": _raise(lambda: RuntimeError("CUDA out of memory. (scripted)")),
    "fatal": _raise(lambda: BackendError("render_failed", "the engine is gone (scripted)", True, fatal=True)),
    "config": _raise(lambda: BackendError("bad_config", "a scripted configuration error")),
    "import": _raise(lambda: ImportError("No module named 'scripted'")),
    "syntax": _raise(lambda: SyntaxError("scripted")),
    "exit78": _exit,
}
