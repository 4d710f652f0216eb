"""As much of sounddevice as playing takes, where there is no loudspeaker: it asks for sound at its pace, and drops it.

On PYTHONPATH it takes the place of the real module, so that a recording shows what a listener would see.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

_BLOCK_S = 0.02
_LATENCY_S = 0.1  # of a device: the last that it was given is heard so much later


class PortAudioError(Exception):
    pass


def query_devices(kind: str) -> dict[str, str]:
    return {"name": f"no {kind}"}


class RawOutputStream:
    def __init__(self, samplerate: int, channels: int, dtype: str, callback: Callable[..., Any]) -> None:
        self.active = False
        self._frames = int(samplerate * _BLOCK_S)
        self._out = bytearray(self._frames * channels * 2)
        self._callback = callback

    def start(self) -> None:
        self.active = True
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        time.sleep(_LATENCY_S)
        self.abort()

    def abort(self) -> None:
        self.active = False

    close = abort

    def _run(self) -> None:
        due = time.monotonic()
        while self.active:
            self._callback(self._out, self._frames, None, None)
            due += _BLOCK_S
            time.sleep(max(0.0, due - time.monotonic()))
