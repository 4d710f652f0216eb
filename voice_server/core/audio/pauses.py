"""The silence around a sentence, removed while its audio streams.

Promises: what is heard stays as it is, inner silence too; of the silence before the first audible sample and after the
last one, a margin is left, so that no consonant is cut; the result is the same however the audio was cut into chunks;
nothing is held back but silence that may turn out to be the last. A cut cannot click louder than the level below which
we call audio silent. The pause between two sentences is the reorder buffer's: it alone knows what was heard before.
"""

from __future__ import annotations

from voice_server.core.audio import pcm as audio
from voice_server.core.limits import SilenceLimits

_DEFAULTS = SilenceLimits()


class SilenceTrim:
    """One rendering of one sentence. At its end nothing needs to be asked for: what is held then is not wanted."""

    def __init__(self, sample_rate: int, limits: SilenceLimits = _DEFAULTS) -> None:
        self._margin = audio.byte_count(limits.margin_s, sample_rate)
        self._room = 0  # of the margin after the last audible sample
        self._heard = False
        self._held = bytearray()  # silence: before the first audible sample, or beyond the margin after the last

    def push(self, pcm: bytes) -> bytes:
        """Whole samples in, those that are certainly wanted out."""
        if self._heard and audio.ends_audibly(pcm):
            self._room = self._margin
            return self._take_held() + pcm if self._held else pcm
        begin, end = audio.audible_span(pcm)
        silence = self._hold(pcm[:begin] if end else pcm)
        if not end:
            return silence
        self._heard, self._room = True, self._margin
        return silence + self._take_held() + pcm[begin:end] + self._hold(pcm[end:])

    def _hold(self, silence: bytes) -> bytes:
        """Keep silence back but for what is left of the margin, which is wanted whatever follows."""
        kept = silence[: self._room]
        self._room -= len(kept)
        self._held += silence[len(kept) :]
        if not self._heard:
            del self._held[: max(0, len(self._held) - self._margin)]
        return kept

    def _take_held(self) -> bytes:
        held = bytes(self._held)
        self._held.clear()
        return held
