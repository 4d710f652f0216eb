"""Whether what an engine gave for one sentence can be speech at all: engines fail without saying so.

Promises: no byte of a rendering in which nothing can be heard is ever passed on, because the silence before its first
audible sample is held back; everything else is passed on as it came, however it was cut into chunks; `fault` names what
is wrong with the whole of it. What never ends is not its business: the sentence counts the seconds.
"""

from __future__ import annotations

from voice_server.core.audio import pcm as audio
from voice_server.core.limits import GuardLimits

_DEFAULTS = GuardLimits()


class OutputGuard:
    """One rendering of one sentence, at the engine's rate. `spoken` is what the engine was asked to say."""

    def __init__(self, spoken: str, sample_rate: int, limits: GuardLimits = _DEFAULTS) -> None:
        self._limits = limits
        self._letters = sum(map(str.isalnum, spoken))
        self._shortest_bytes = audio.byte_count(self._letters * limits.seconds_per_letter, sample_rate)
        self._held = bytearray()
        self._bytes = 0
        self._audible_from: int | None = None  # in bytes
        self._audible_to = 0
        self._clipped = 0

    def push(self, pcm: bytes) -> bytes:
        """Whole samples in; out is what may be heard, with all that was held before it."""
        self._measure(pcm)
        if self._audible_from is None:
            self._held += pcm
            return b""
        if not self._held:
            return pcm
        held = bytes(self._held)
        self._held.clear()
        return held + pcm

    def fault(self, spoiled: int) -> str:
        """What is wrong, for people; "" is nothing. `spoiled` samples were no numbers before they became PCM."""
        if self._audible_from is None:
            return "silence"
        sounding = self._audible_to - self._audible_from
        if sounding < self._shortest_bytes:
            return f"a sound too short for {self._letters} letters"
        if spoiled:
            return "samples that are no numbers"
        if self._clipped * audio.SAMPLE_BYTES > self._limits.clipped_share * sounding:
            return "clipped sound"
        return ""

    def _measure(self, pcm: bytes) -> None:
        if self._audible_from is not None and audio.ends_audibly(pcm):  # as speech mostly does
            begin, end = 0, len(pcm)
        else:
            begin, end = audio.audible_span(pcm)
        if end:
            if self._audible_from is None:
                self._audible_from = self._bytes + begin
            self._audible_to = self._bytes + end
            self._clipped += audio.clipped_samples(pcm)
        self._bytes += len(pcm)
