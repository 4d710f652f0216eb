"""One sentence on its way through the workers: its attempts, its conversion to the client's rate, its guard.

A worker's death costs one more attempt, and so does audio that cannot be speech as long as nobody got any of it. The
second attempt is the last: whatever of the sentence was heard stays heard.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from voice_server.core.audio import pcm as audio
from voice_server.core.audio.guard import OutputGuard
from voice_server.core.audio.pauses import SilenceTrim
from voice_server.core.audio.pcm import Resampler
from voice_server.core.errors import (
    BackendUnavailable,
    BadAudio,
    BadOption,
    Runaway,
    SentenceFailed,
    UnknownVoice,
    VoiceError,
)
from voice_server.core.limits import StreamLimits
from voice_server.pool.dispatcher import RenderRequest
from voice_server.wire.messages import Done, Failed, Ready

_log = logging.getLogger(__name__)

ATTEMPTS = 2
_ABOUT_THE_REQUEST = {"unknown_voice": UnknownVoice, "bad_option": BadOption, "bad_text": SentenceFailed}


class SentenceOwner(Protocol):
    """The stream, as one of its sentences sees it."""

    sample_rate: int

    @property
    def trims_silence(self) -> bool: ...

    @property
    def guards_output(self) -> bool: ...

    def has_left(self, sentence: Sentence) -> bool:
        """Whether some of its audio is on its way to the client."""

    def request_for(self, spoken: str) -> RenderRequest: ...

    def on_rendering(self, sentence: Sentence, worker: str) -> None: ...

    def on_sentence_audio(self, sentence: Sentence, pcm: bytes) -> None: ...

    def on_sentence_end(self, sentence: Sentence, error: VoiceError | None) -> None: ...

    def on_sentence_retry(self, sentence: Sentence, *, exact: bool) -> None: ...

    def on_sentence_poisonous(self, sentence: Sentence) -> None: ...

    def stop_render(self, sentence: Sentence) -> None: ...


class Sentence:
    """Implements RenderSink. `text` is the client's, `spoken` what the engine is given."""

    def __init__(self, index: int, text: str, spoken: str, owner: SentenceOwner, limits: StreamLimits) -> None:
        self.index = index
        self.text = text
        self.spoken = spoken
        self._owner = owner
        self.truncated = False  # the engine hit its length cap
        self.worker = ""  # of the latest attempt
        self._attempts = 0
        self._pardons: list[Callable[[], None]] = []  # of the workers that died of it, as it may be
        self._exact = False
        self._resampler: Resampler | None = None
        self._trim: SilenceTrim | None = None
        self._guard: OutputGuard | None = None
        self._rate = 0  # of the engine
        self._audio_s = 0.0  # of this attempt
        self._cap_s = max(limits.sentence_min_s, limits.seconds_per_char * len(spoken))

    @property
    def chars(self) -> int:
        return len(self.spoken)

    def request(self) -> RenderRequest:
        return self._owner.request_for(self.spoken)

    def on_started(self, worker: str, ready: Ready) -> None:
        self.worker = worker
        self._attempts += 1
        self._rate, self._audio_s = ready.sample_rate, 0.0
        self._exact = ready.deterministic
        same = ready.sample_rate == self._owner.sample_rate
        self._resampler = None if same else Resampler(ready.sample_rate, self._owner.sample_rate)
        self._trim = SilenceTrim(self._owner.sample_rate) if self._owner.trims_silence else None
        self._guard = OutputGuard(self.spoken, ready.sample_rate) if self._owner.guards_output else None
        self._owner.on_rendering(self, worker)

    def on_audio(self, pcm: bytes) -> None:
        self._audio_s += audio.duration_s(len(pcm), self._rate)  # also what is held back: silence must end too
        wanted = self._guard.push(pcm) if self._guard else pcm
        if wanted:
            self._forward(self._resampler.push(wanted) if self._resampler else wanted)
        if self._audio_s > self._cap_s:
            self._owner.stop_render(self)
            self._end(Runaway("the engine did not stop speaking; the rest of this sentence was left out"))

    def on_done(self, done: Done) -> bool:
        if fault := self._guard.fault(done.spoiled) if self._guard else "":
            self._on_bad_audio(fault)
            return False
        if self._resampler:
            self._forward(self._resampler.flush())
        self.truncated = done.truncated
        self._end(None)
        return True

    def on_failed(self, failed: Failed) -> None:
        _log.warning("sentence %d failed: %s: %s", self.index, failed.code, failed.message)
        if failed.retryable and self._attempts < ATTEMPTS:
            self._owner.on_sentence_retry(self, exact=self._exact)
        else:
            self._end(_told(failed))

    def on_lost(self, reason: str, pardon: Callable[[], None]) -> None:
        self._pardons.append(pardon)
        if self._attempts < ATTEMPTS:
            self._owner.on_sentence_retry(self, exact=self._exact)
            return
        if len(self._pardons) >= ATTEMPTS:  # told first: an answer that ends with this sentence must not end well
            self._charge()
        self._end(SentenceFailed("its worker died twice; leave the sentence out or say it differently"))

    def _charge(self) -> None:
        """It has killed twice: that is its own doing, not that of the workers."""
        for pardon in self._pardons:
            pardon()
        self._owner.on_sentence_poisonous(self)

    def on_refused(self, error: VoiceError) -> None:
        self._end(error)

    def _on_bad_audio(self, fault: str) -> None:
        _log.warning("sentence %d came out as %s", self.index, fault)
        if self._attempts < ATTEMPTS and not self._owner.has_left(self):
            self._owner.on_sentence_retry(self, exact=self._exact)
        else:
            self._end(BadAudio(f"the engine gave {fault} for this sentence; say it differently or leave it out"))

    def _forward(self, pcm: bytes) -> None:
        wanted = self._trim.push(pcm) if self._trim else pcm
        if wanted:
            self._owner.on_sentence_audio(self, wanted)

    def _end(self, error: VoiceError | None) -> None:
        self._owner.on_sentence_end(self, error)


def _told(failed: Failed) -> VoiceError:
    """What a client may know of a failure: what it asked wrongly, but never an engine's own exception."""
    if kind := _ABOUT_THE_REQUEST.get(failed.code):
        return kind(failed.message)
    if failed.code == "empty_audio":
        return SentenceFailed("the engine found nothing to speak in this sentence")
    if failed.code == "out_of_memory":
        return BackendUnavailable("the engine ran out of memory; try a shorter sentence or again later")
    return SentenceFailed("the engine could not speak this sentence; the server's log says why")
