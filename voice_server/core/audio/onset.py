"""The audible onset of an answer: how much silence a listener gets before the first sample that can be heard.

The first byte is not the first sound. Promises: the same for every way of cutting the audio into chunks, and no work at
all once the onset was found.
"""

from __future__ import annotations

from voice_server.core.audio import pcm as audio


class AudibleOnset:
    """Give it an answer's audio in order, from its first chunk."""

    def __init__(self) -> None:
        self.samples: int | None = None  # before the first audible one; None: none was audible so far
        self._silent_bytes = 0

    def push(self, pcm: bytes) -> bool:
        """True once: for the chunk that holds the first audible sample."""
        if self.samples is not None:
            return False
        begin, end = audio.audible_span(pcm)
        self._silent_bytes += begin if end else len(pcm)
        if end:
            self.samples = self._silent_bytes // audio.SAMPLE_BYTES
        return bool(end)
