"""Every error the gateway can tell anybody, as one tree.

    VoiceError
    ├── ClientError           the client broke a rule; the session goes on where it can
    │   ├── BadMessage        bad_message        not JSON, wrong types, unknown values
    │   ├── BadOption         bad_option         an option that is unknown, of the wrong type or out of range
    │   ├── UnknownVoice      unknown_voice
    │   ├── UnknownBackend    unknown_backend
    │   ├── UnknownLora       unknown_lora
    │   ├── UnknownSession    unknown_session    audio for a session that was not started, or is over
    │   ├── CannotResume      cannot_resume      the stream is over, or does not keep what the client lacks
    │   ├── ResumedElsewhere  resumed_elsewhere  the client came back on another socket
    │   ├── BadSample         bad_sample         a recording that cannot be a voice; says what would be right
    │   │   └── SampleTooLarge  sample_too_large
    │   ├── VoiceExists       voice_exists       the name, the alias or the very recording is taken
    │   ├── RestartRunning    restart_running    the workers of this backend are being replaced already
    │   ├── UnknownFormat     unknown_format     an audio format or sample rate that cannot be made here
    │   ├── TextTooLong       text_too_long
    │   ├── AudioTooLong      audio_too_long     more sound than is taken at once
    │   ├── EmptyText         empty_text
    │   ├── Unauthorized      unauthorized
    │   ├── UnknownHost       unknown_host       the request names this server by a name that is not its own
    │   ├── ForeignOrigin     foreign_origin     a web page from elsewhere asks
    │   ├── RateLimited       rate_limited       more than this client may have; says when to come again
    │   ├── IdleTimeout       idle_timeout
    │   ├── SlowClient        slow_client
    │   └── Poisoned          poisoned           this client's text killed workers twice
    └── ServerError           the gateway or a backend could not do its part
        ├── BackendUnavailable  backend_unavailable
        ├── Overloaded          overloaded
        ├── SentenceFailed      sentence_failed
        ├── ModelFailed         model_failed       the language model behind POST /chat did not answer, or broke off
        ├── HearingFailed       hearing_failed     audio that could not be turned into text, also not on a second worker
        ├── BadAudio            bad_audio          the engine gave silence, noise or a mere click; nothing to listen to
        ├── Runaway             runaway            the engine would not stop; the sentence was cut
        ├── StorageFull         storage_full       the disk is full or read-only: a voice could not be kept
        ├── GoingAway           going_away
        └── TooManyConnections  too_many_connections

A code is stable: clients may match on it. The message is for a person and says what to do next; it never holds the
text of an internal exception, a path, or another client's words.
"""

from __future__ import annotations

import math

_BUSY = 503
_SOON_S = 1.0  # after which to come again where nobody knows better


class VoiceError(Exception):
    """An error with a stable code.

    `code` is snake_case. `http_status` is what an HTTP door answers. `close_code` is the WebSocket close code, or None
    when the session goes on. `field` names the part of the client's message that was wrong; `retry_after_s` is when the
    same may be asked again, where that is known.
    """

    code = "internal_error"
    http_status = 500
    close_code: int | None = None

    def __init__(self, message: str, *, field: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after_s = retry_after_s

    @property
    def retry_headers(self) -> dict[str, str]:
        """Of an HTTP answer: when to ask again, if that is of use at all."""
        if self.retry_after_s is None and self.http_status != _BUSY:
            return {}
        return {"retry-after": str(max(1, math.ceil(self.retry_after_s or _SOON_S)))}


class ClientError(VoiceError):
    http_status = 400


class BadMessage(ClientError):
    code = "bad_message"


class BadOption(ClientError):
    code = "bad_option"


class UnknownVoice(ClientError):
    code = "unknown_voice"
    http_status = 404


class UnknownBackend(ClientError):
    code = "unknown_backend"
    http_status = 404


class UnknownLora(ClientError):
    code = "unknown_lora"
    http_status = 404


class UnknownSession(ClientError):
    code = "unknown_session"
    http_status = 404


class CannotResume(ClientError):
    code = "cannot_resume"
    http_status = 410
    close_code = 1008


class ResumedElsewhere(ClientError):
    code = "resumed_elsewhere"
    http_status = 409
    close_code = 4001  # of the range for applications: a client that sees it must not come back, it is back


class BadSample(ClientError):
    code = "bad_sample"


class SampleTooLarge(BadSample):
    code = "sample_too_large"
    http_status = 413


class VoiceExists(ClientError):
    code = "voice_exists"
    http_status = 409


class RestartRunning(ClientError):
    code = "restart_running"
    http_status = 409


class UnknownFormat(ClientError):
    code = "unknown_format"


class TextTooLong(ClientError):
    code = "text_too_long"
    http_status = 413


class AudioTooLong(ClientError):
    code = "audio_too_long"
    http_status = 413


class EmptyText(ClientError):
    code = "empty_text"


class Unauthorized(ClientError):
    code = "unauthorized"
    http_status = 401
    close_code = 1008


class UnknownHost(ClientError):
    code = "unknown_host"
    http_status = 403
    close_code = 1008


class ForeignOrigin(ClientError):
    code = "foreign_origin"
    http_status = 403
    close_code = 1008


class RateLimited(ClientError):
    code = "rate_limited"
    http_status = 429


class IdleTimeout(ClientError):
    code = "idle_timeout"
    http_status = 408
    close_code = 1008


class SlowClient(ClientError):
    code = "slow_client"
    http_status = 408
    close_code = 1008


class Poisoned(ClientError):
    code = "poisoned"
    http_status = 422
    close_code = 1011


class ServerError(VoiceError):
    http_status = 500


class BackendUnavailable(ServerError):
    code = "backend_unavailable"
    http_status = 503


class Overloaded(ServerError):
    code = "overloaded"
    http_status = 503
    close_code = 1013


class SentenceFailed(ServerError):
    code = "sentence_failed"


class ModelFailed(ServerError):
    code = "model_failed"
    http_status = 502


class HearingFailed(ServerError):
    code = "hearing_failed"


class BadAudio(ServerError):
    code = "bad_audio"


class Runaway(ServerError):
    code = "runaway"


class StorageFull(ServerError):
    code = "storage_full"
    http_status = 507


class GoingAway(ServerError):
    code = "going_away"
    http_status = 503
    close_code = 1012


class TooManyConnections(ServerError):
    code = "too_many_connections"
    http_status = 503
    close_code = 1013
