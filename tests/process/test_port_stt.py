"""The port `stt`: every message of its protocol, errors and endings too, with a real process and the pitch backend."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.process.hearing_driver import RATE, beeps, words
from tests.process.port_driver import PortProcess, ends_at_once, port_process, samples_b64, write_config

TUNE = (440, 880, 1320, 660)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, tone_python: Path) -> Iterator[PortProcess]:
    """One that is ready, for the tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("port")
    with port_process("stt", folder, write_config(folder, "pitch")) as port:
        assert port.hear()["event"] == "ready"
        yield port


def start(port: PortProcess, name: str, **told: Any) -> None:
    port.say(cmd="start_session", session_id=name, **told)
    assert port.hear() == {"event": "session_started", "session_id": name}


def speak(port: PortProcess, name: str, pcm: bytes, piece_bytes: int = 3200) -> int:
    """In pieces of 100 ms; how many."""
    pieces = [pcm[at : at + piece_bytes] for at in range(0, len(pcm), piece_bytes)]
    for piece in pieces:
        port.say(cmd="audio_chunk", session_id=name, pcm_b64=samples_b64(piece))
    return len(pieces)


def is_final(message: dict[str, Any]) -> bool:
    return bool(message["event"] == "final")


def stop(port: PortProcess, name: str) -> list[dict[str, Any]]:
    """The last message is the final one."""
    port.say(cmd="stop_session", session_id=name)
    return port.hear_until(is_final)


def test_sound_becomes_text_that_only_ever_grows(port: PortProcess) -> None:
    start(port, "a")
    chunks = speak(port, "a", beeps(*TUNE))
    messages = port.hear_until(lambda message: message["text"] == words(*TUNE))
    assert {message["event"] for message in messages} == {"partial"}
    texts = [message["text"] for message in messages]
    assert len(set(texts)) == 4
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    counts = [message["chunk_count"] for message in messages]
    assert counts == sorted(counts) and counts[-1] <= chunks
    final = stop(port, "a")[-1]
    assert (final["event"], final["session_id"], final["text"]) == ("final", "a", words(*TUNE))


def test_a_stop_right_after_the_audio_loses_no_word(port: PortProcess) -> None:
    start(port, "a")
    speak(port, "a", beeps(*TUNE))
    assert stop(port, "a")[-1]["text"] == words(*TUNE)


def test_sessions_are_heard_side_by_side(port: PortProcess) -> None:
    pitches = {"a": 440, "b": 880, "c": 1320}
    for name in pitches:
        start(port, name)
    for name, hz in pitches.items():
        speak(port, name, beeps(hz, hz + 50))
    for name in pitches:
        port.say(cmd="stop_session", session_id=name)
    finals: dict[str, str] = {}
    while len(finals) < 3:
        message = port.hear_until(is_final)[-1]
        finals[message["session_id"]] = message["text"]
    assert finals == {name: words(hz, hz + 50) for name, hz in pitches.items()}


def test_a_session_without_a_sound_ends_with_no_text(port: PortProcess) -> None:
    start(port, "a")
    assert stop(port, "a")[-1]["text"] == ""


def test_a_session_that_is_over_may_begin_anew(port: PortProcess) -> None:
    for hz in (440, 880):
        start(port, "a")
        speak(port, "a", beeps(hz))
        assert stop(port, "a")[-1]["text"] == words(hz)


NO_NUMBER = base64.b64encode(np.array([0.0, np.nan], "<f4").tobytes())
REFUSED: list[tuple[bytes, str, str]] = [
    (b"", "invalid json", "bad_message"),
    (b"\xff", "invalid json", "bad_message"),
    (b'{"cmd": "speak_text", "session_id": "a", "text": "x"}', "unknown cmd", "bad_message"),
    (b'{"cmd": "audio_chunk", "pcm_b64": ""}', "missing session_id", "bad_message"),
    (b'{"cmd": "audio_chunk", "session_id": "nobody", "pcm_b64": ""}', "unknown session", "unknown_session"),
    (b'{"cmd": "stop_session", "session_id": "nobody"}', "unknown session", "unknown_session"),
    (b'{"cmd": "audio_chunk", "session_id": "a", "pcm_b64": "?"}', "invalid base64", "bad_message"),
    (b'{"cmd": "audio_chunk", "session_id": "a", "pcm_b64": "AAA="}', "invalid audio", "bad_message"),
    (b'{"cmd": "audio_chunk", "session_id": "a", "pcm_b64": "%s"}' % NO_NUMBER, "invalid audio", "bad_message"),
    (b'{"cmd": "audio_chunk", "session_id": "a"}', "pcm_b64", "bad_message"),
    (b'{"cmd": "start_session", "session_id": "a"}', "has been started", "bad_message"),
    (b'{"cmd": "start_session", "session_id": "b", "language": "fr"}', "hears en", "bad_option"),
    (b'{"cmd": "start_session", "session_id": "b", "opts": {"model": "large"}}', "unknown option", "bad_option"),
    (b'{"cmd": "start_session", "session_id": "b", "backend": "whisper"}', "started for pitch", "unknown_backend"),
]


@pytest.mark.parametrize(("body", "says", "code"), REFUSED)
def test_what_cannot_be_obeyed_is_one_error_and_no_word_is_lost(
    port: PortProcess, body: bytes, says: str, code: str
) -> None:
    start(port, "a")
    speak(port, "a", beeps(440))
    port.hear_until(lambda message: message["text"] == "440hz")
    port.say_body(body)
    error = port.hear_until(lambda message: message["event"] != "partial")[-1]
    assert error["event"] == "error" and error["code"] == code
    assert says in error["message"]
    named = [name for name in ("a", "b", "nobody") if b'"session_id": "%s"' % name.encode() in body]
    assert error.get("session_id") == (named[0] if named else None)
    speak(port, "a", beeps(880))
    assert stop(port, "a")[-1]["text"] == words(440, 880)


def test_what_an_engine_prints_never_comes_between_packets(port: PortProcess) -> None:
    start(port, "a", opts={"fault": "print:1"})
    speak(port, "a", beeps(440))
    assert stop(port, "a")[-1]["text"] == "440hz"


def test_a_worker_that_dies_costs_no_word(port: PortProcess, tmp_path: Path) -> None:
    start(port, "a", opts={"fault": f"once={tmp_path / 'struck'};die@1"})
    speak(port, "a", beeps(*TUNE))
    assert stop(port, "a")[-1]["text"] == words(*TUNE)
    assert (tmp_path / "struck").exists()


def test_audio_that_no_engine_can_hear_ends_its_session_alone(port: PortProcess) -> None:
    start(port, "b")
    start(port, "a", opts={"fault": "raise"})
    speak(port, "a", beeps(440))
    error = port.hear_until(lambda message: message["event"] == "error")[-1]
    assert (error["session_id"], error["code"]) == ("a", "hearing_failed")
    assert "partial transcribe failed" in error["message"]
    port.say(cmd="stop_session", session_id="a")
    assert port.hear()["message"] == "unknown session"
    speak(port, "b", beeps(880))
    assert stop(port, "b")[-1]["text"] == "880hz"


def test_audio_beyond_what_the_engine_bears_is_dropped_and_that_is_told(tmp_path: Path, tone_python: Path) -> None:
    with port_process("stt", tmp_path, write_config(tmp_path, "pitch", work_s=5.0)) as port:
        assert port.hear()["event"] == "ready"
        start(port, "a")
        speak(port, "a", bytes(2 * 40 * RATE), piece_bytes=2 * 10 * RATE)
        overload = port.hear_until(lambda message: message["event"] == "overload")[-1]
        assert (overload["session_id"], overload["policy"], overload["dropped_count"]) == ("a", "drop_newest", 1)
        assert overload["queue_depth"] == 3


@pytest.mark.parametrize("how", ["terminate", "hang_up"])
def test_it_ends_at_once_while_it_listens(tmp_path: Path, tone_python: Path, how: str) -> None:
    with port_process("stt", tmp_path, write_config(tmp_path, "pitch", work_s=5.0)) as port:
        assert port.hear()["event"] == "ready"
        start(port, "a")
        speak(port, "a", beeps(*TUNE))
        getattr(port, how)()
        assert ends_at_once(port) == 0


def test_shutdown_says_goodbye(tmp_path: Path, tone_python: Path) -> None:
    with port_process("stt", tmp_path, write_config(tmp_path, "pitch")) as port:
        port.say(cmd="start_session", session_id="before it was ready")
        port.say(cmd="shutdown", session_id="_")
        assert [event["event"] for event in port.hear_rest()] == ["ready", "session_started", "bye"]
        assert ends_at_once(port) == 0


def test_an_engine_that_cannot_load_is_one_error_that_says_why(tmp_path: Path, tone_python: Path) -> None:
    with port_process("stt", tmp_path, write_config(tmp_path, "pitch", load_fault="import")) as port:
        assert "No module named 'scripted'" in port.hear()["message"]
        assert port.wait() == 1
