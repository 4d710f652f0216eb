"""Messages of the VoxCPM TTS protocol, made and read as its document says."""

from __future__ import annotations

import json
from typing import Any

from voice_server.core.doors.limits import VoxcpmTtsLimits
from voice_server.core.doors.voxcpm_tts_protocol import (
    TtsRequest,
    decode,
)

LIMITS = VoxcpmTtsLimits()


def request(**params: Any) -> TtsRequest:
    message = {"type": "tts_request", "request_id": "a", "params": {"text": "Hello.", **params}}
    got = decode(json.dumps(message), LIMITS)
    assert isinstance(got, TtsRequest)
    return got
