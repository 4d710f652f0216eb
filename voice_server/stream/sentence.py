"""One sentence on its way through the workers: its attempts, its conversion to the client's rate, its guard.

A worker's death costs one more attempt. The second one is the last: whatever of the sentence was heard stays heard.
"""

from __future__ import annotations

import logging
from typing import Protocol

from voice_server.core import pcm as audio
from voice_server.core.errors import (
    BackendUnavailable,
    BadOption,
    Runaway,
    SentenceFailed,
    UnknownVoice,
    VoiceError,
)
from voice_server.core.limits import StreamLimits
from voice_server.core.pauses import SilenceTrim
from voice_server.core.pcm import Resampler
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
        self._attempts = 0
        self._deaths = 0
        self._exact = False
        self._resampler: Resampler | None = None
        self._trim: SilenceTrim | None = None
        self._pcm_bytes = 0  # of this attempt
        seconds = max(limits.sentence_min_s, limits.seconds_per_char * len(spoken))
        self._cap_bytes = audio.byte_count(seconds, owner.sample_rate)

    @property
    def chars(self) -> int:
        return len(self.spoken)

    def request(self) -> RenderRequest:
        return self._owner.request_for(self.spoken)

    def on_started(self, worker: str, ready: Ready) -> None:
        self._attempts += 1
        self._pcm_bytes = 0
        self._exact = ready.deterministic
        same = ready.sample_rate == self._owner.sample_rate
        self._resampler = None if same else Resampler(ready.sample_rate, self._owner.sample_rate)
        self._trim = SilenceTrim(self._owner.sample_rate) if self._owner.trims_silence else None
        self._owner.on_rendering(self, worker)

    def on_audio(self, pcm: bytes) -> None:
        self._forward(self._resampler.push(pcm) if self._resampler else pcm)
        if self._pcm_bytes > self._cap_bytes:
            self._owner.stop_render(self)
            self._end(Runaway("the engine did not stop speaking; the rest of this sentence was left out"))

    def on_done(self, done: Done) -> None:
        if self._resampler:
            self._forward(self._resampler.flush())
        self.truncated = done.truncated
        self._end(None)

    def on_failed(self, failed: Failed) -> None:
        _log.warning("sentence %d failed: %s: %s", self.index, failed.code, failed.message)
        if failed.retryable and self._attempts < ATTEMPTS:
            self._owner.on_sentence_retry(self, exact=self._exact)
        else:
            self._end(_told(failed))

    def on_lost(self, reason: str) -> None:
        self._deaths += 1
        if self._attempts < ATTEMPTS:
            self._owner.on_sentence_retry(self, exact=self._exact)
            return
        if self._deaths >= ATTEMPTS:  # told first: an answer that ends with this sentence must not end well
            self._owner.on_sentence_poisonous(self)
        self._end(SentenceFailed("its worker died twice; leave the sentence out or say it differently"))

    def on_refused(self, error: VoiceError) -> None:
        self._end(error)

    def _forward(self, pcm: bytes) -> None:
        self._pcm_bytes += len(pcm)  # also what is trimmed: an engine that is silent for ever must be stopped too
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
