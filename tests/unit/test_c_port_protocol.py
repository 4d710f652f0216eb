from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice_server.core.doors import c_port_protocol as protocol
from voice_server.core.doors.c_port_protocol import HEARING, SPEAKING, Refused, Shutdown, SpeakText
from voice_server.core.doors.transcribe_protocol import AudioChunk, StartSession, StopSession
from voice_server.core.errors import UnknownVoice
from voice_server.core.limits import Limits

LIMITS = Limits()


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ({"cmd": "start_session", "session_id": "a"}, StartSession("a")),
        ({"cmd": "audio_chunk", "session_id": "a", "pcm_b64": "AAA="}, AudioChunk("a", "AAA=")),
        ({"cmd": "stop_session", "session_id": "a"}, StopSession("a")),
        ({"cmd": "shutdown", "session_id": "_"}, Shutdown()),
        ({"cmd": "shutdown"}, Shutdown()),
    ],
)
def test_what_is_said_to_who_hears_is_understood(body: dict[str, str], command: object) -> None:
    assert protocol.decode(json.dumps(body).encode(), HEARING, LIMITS) == command


@pytest.mark.parametrize(
    ("body", "command"),
    [
        ({"text": "Hi."}, SpeakText("a", "Hi.")),
        ({"text": "Hi.", "voice": None, "speed": None}, SpeakText("a", "Hi.")),
        ({"text": "Hi.", "voice": "low", "speed": 2}, SpeakText("a", "Hi.", "low", 2.0)),
        ({"text": "Hi.", "colour": "red"}, SpeakText("a", "Hi.")),
    ],
)
def test_what_is_to_be_spoken_is_understood(body: dict[str, object], command: SpeakText) -> None:
    said = {"cmd": "speak_text", "session_id": "a", **body}
    assert protocol.decode(json.dumps(said).encode(), SPEAKING, LIMITS) == command


@given(
    st.binary(max_size=60) | st.dictionaries(st.text(), st.integers() | st.text()).map(lambda d: json.dumps(d).encode())
)
def test_any_packet_is_a_command_or_refused(body: bytes) -> None:
    for commands in (HEARING, SPEAKING):
        try:
            protocol.decode(body, commands, LIMITS)
        except Refused as refused:
            assert refused.error.code == "bad_message"


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Refused, match="invalid json"):
        protocol.decode(b"[" * 100_000, HEARING, LIMITS)


def test_a_session_that_was_named_is_told_of_its_error() -> None:
    with pytest.raises(Refused) as refused:
        protocol.decode(b'{"cmd": "speak_text", "session_id": "a", "text": 7}', SPEAKING, LIMITS)
    assert refused.value.session_id == "a"


@pytest.mark.parametrize(
    ("session_id", "told"),
    [(None, "missing session_id"), ("", "missing"), (7, "text of 1 to"), ("a" * 200, "text of 1 to")],
)
def test_a_session_has_an_id_that_an_answer_can_name(session_id: object, told: str) -> None:
    with pytest.raises(Refused, match=told) as refused:
        protocol.decode(json.dumps({"cmd": "stop_session", "session_id": session_id}).encode(), HEARING, LIMITS)
    assert (refused.value.session_id, refused.value.error.field) == (None, "session_id")


def test_audio_is_told_as_floats() -> None:
    told = json.loads(protocol.audio_chunk("a", 3, b"\x00\x80\x00\x40", 24_000))
    assert base64.b64decode(told.pop("pcm_b64")) == b"\x00\x00\x80\xbf\x00\x00\x00\x3f"  # -1.0, 0.5
    rest = {"event": "audio_chunk", "session_id": "a", "seq": 3, "sample_rate": 24000, "channels": 1, "format": "f32le"}
    assert told == rest


@pytest.mark.parametrize(
    ("packet", "told"),
    [
        (protocol.ready(7), {"event": "ready", "ts_ms": 7}),
        (protocol.session_started("a"), {"event": "session_started", "session_id": "a"}),
        (protocol.session_done("a"), {"event": "session_done", "session_id": "a"}),
        (protocol.session_stopped("a"), {"event": "session_stopped", "session_id": "a"}),
        (protocol.bye(), {"event": "bye"}),
        (protocol.error(UnknownVoice("no")), {"event": "error", "message": "no", "code": "unknown_voice"}),
        (
            protocol.error(UnknownVoice("no"), "a"),
            {"event": "error", "session_id": "a", "message": "no", "code": "unknown_voice"},
        ),
    ],
)
def test_every_other_message_is_as_the_protocol_has_it(packet: bytes, told: dict[str, object]) -> None:
    assert json.loads(packet) == told
