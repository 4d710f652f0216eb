"""An adapter that clones: its audio is the sample itself, once for each of the first five words. For voice tests.

`Speaker` is the same engine without that art."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from voice_server.worker.adapter import TRUNCATED

CAP = 5  # words


class Speaker:
    sample_rate = 24_000

    def __init__(self, device: str) -> None:
        self._prepared: dict[str, NDArray[np.float32]] = {}

    def voices(self) -> list[str]:
        return ["silence"]

    def render(self, text: str, voice: str) -> Generator[NDArray[np.float32], None, str]:
        for _ in text.split()[:CAP]:
            yield self._prepared.get(voice, np.zeros(2_400, dtype=np.float32))
        return TRUNCATED if len(text.split()) > CAP else ""


class Cloner(Speaker):
    def prepare_voice(self, voice: str, sample_path: str, transcript: str) -> None:
        if voice not in self._prepared:
            with open(sample_path, "rb") as file:
                pcm = np.frombuffer(file.read()[44:], dtype="<i2")
            self._prepared[voice] = pcm.astype(np.float32) / 32767
