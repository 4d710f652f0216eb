"""The port `tts`: every message of its protocol, errors and endings too, with a real process and the tone backend."""

from __future__ import annotations

import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import tone_bytes, wait_until
from tests.process.port_driver import (
    HOME,
    PATIENCE_S,
    PortProcess,
    ends_at_once,
    header,
    is_worker,
    pcm_of_f32,
    port_process,
    write_config,
)

TEXT = "Hello there. This is a port, and it speaks."
LONG = "This sentence is spoken at the pace of a person, so that something comes in its middle. " * 3


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, tone_python: Path) -> Iterator[PortProcess]:
    """One that is ready, for the tests that leave it as they found it."""
    folder = tmp_path_factory.mktemp("port")
    with port_process("tts", folder, write_config(folder, "tone")) as port:
        ready = port.hear()
        assert ready.keys() == {"event", "ts_ms"} and ready["event"] == "ready"
        assert abs(ready["ts_ms"] / 1000 - time.time()) < 60
        yield port


def start(port: PortProcess, name: str, **told: Any) -> None:
    port.say(cmd="start_session", session_id=name, **told)
    assert port.hear() == {"event": "session_started", "session_id": name}


def stop(port: PortProcess, name: str) -> list[dict[str, Any]]:
    port.say(cmd="stop_session", session_id=name)
    messages = port.hear_until(lambda message: message["event"] == "session_stopped")
    assert messages[-1] == {"event": "session_stopped", "session_id": name}
    return messages[:-1]


def is_done(message: dict[str, Any]) -> bool:
    return bool(message["event"] == "session_done")


def audio(messages: list[dict[str, Any]], name: str) -> bytes:
    """Of one text of this session; its chunks are as the protocol wants them."""
    chunks = [message for message in messages if message["event"] == "audio_chunk" and message["session_id"] == name]
    assert [chunk["seq"] for chunk in chunks] == list(range(len(chunks)))
    assert all((chunk["sample_rate"], chunk["channels"], chunk["format"]) == (24000, 1, "f32le") for chunk in chunks)
    return b"".join(pcm_of_f32(base64.b64decode(chunk["pcm_b64"])) for chunk in chunks)


def test_a_text_is_spoken_to_its_end(port: PortProcess) -> None:
    start(port, "a")
    port.say(cmd="speak_text", session_id="a", text=TEXT)
    messages = port.hear_until(is_done)
    assert messages[-1] == {"event": "session_done", "session_id": "a"}
    assert audio(messages, "a") == tone_bytes("Hello there.", "This is a port, and it speaks.")
    assert stop(port, "a") == []


def test_voice_and_speed_are_obeyed(port: PortProcess) -> None:
    start(port, "a")
    port.say(cmd="speak_text", session_id="a", text="Hello there.", voice="low", speed=2)
    assert audio(port.hear_until(is_done), "a") == tone_bytes("Hello there.", voice="low", speed=2.0)
    port.say(cmd="speak_text", session_id="a", text="Hello there.", voice=None, speed=None)
    assert audio(port.hear_until(is_done), "a") == tone_bytes("Hello there.")
    stop(port, "a")


@pytest.mark.parametrize("text", ["", "  \n", "🙂"])
def test_nothing_to_say_is_done_at_once(port: PortProcess, text: str) -> None:
    start(port, "a")
    port.say(cmd="speak_text", session_id="a", text=text)
    assert port.hear() == {"event": "session_done", "session_id": "a"}
    stop(port, "a")


def test_sessions_speak_side_by_side(port: PortProcess) -> None:
    names = ["a", "b", "c"]
    for name in names:
        start(port, name)
    for name in names:
        port.say(cmd="speak_text", session_id=name, text=f"This is session {name}.")
    left = set(names)
    messages = []
    while left:
        messages.append(port.hear())
        if is_done(messages[-1]):
            left.remove(messages[-1]["session_id"])
    assert [audio(messages, name) for name in names] == [tone_bytes(f"This is session {name}.") for name in names]
    for name in names:
        stop(port, name)


REFUSED: list[tuple[bytes, str, str]] = [
    (b"", "invalid json", "bad_message"),
    (b"{", "invalid json", "bad_message"),
    (b"[1]", "invalid json", "bad_message"),
    (b'{"cmd": "dance", "session_id": "a"}', "unknown cmd", "bad_message"),
    (b'{"cmd": 7}', "unknown cmd", "bad_message"),
    (b"{}", "unknown cmd", "bad_message"),
    (b'{"cmd": "audio_chunk", "session_id": "a", "pcm_b64": ""}', "unknown cmd", "bad_message"),
    (b'{"cmd": "speak_text", "text": "x"}', "missing session_id", "bad_message"),
    (b'{"cmd": "start_session", "session_id": ""}', "missing session_id", "bad_message"),
    (b'{"cmd": "start_session", "session_id": 7}', "a session_id is text", "bad_message"),
    (b'{"cmd": "start_session", "session_id": "%s"}' % (b"x" * 200), "a session_id is text", "bad_message"),
    (b'{"cmd": "speak_text", "session_id": "nobody", "text": "x"}', "unknown session", "unknown_session"),
    (b'{"cmd": "stop_session", "session_id": "nobody"}', "unknown session", "unknown_session"),
    (b'{"cmd": "start_session", "session_id": "a"}', "has been started", "bad_message"),
    (b'{"cmd": "start_session", "session_id": "b", "opts": {"pitch": 1}}', "unknown option 'pitch'", "bad_option"),
    (b'{"cmd": "start_session", "session_id": "b", "language": "fr"}', "unknown option 'language'", "bad_option"),
    (b'{"cmd": "start_session", "session_id": "b", "backend": "hibari"}', "started for tone", "unknown_backend"),
    (b'{"cmd": "speak_text", "session_id": "a"}', "text", "bad_message"),
    (b'{"cmd": "speak_text", "session_id": "a", "text": 7}', "Expected `str`", "bad_message"),
    (b'{"cmd": "speak_text", "session_id": "a", "text": "x", "speed": "fast"}', "Expected `float", "bad_message"),
    (b'{"cmd": "speak_text", "session_id": "a", "text": "x", "speed": 99}', "speed must be", "bad_option"),
    (b'{"cmd": "speak_text", "session_id": "a", "text": "x", "voice": "nobody"}', "there is no voice", "unknown_voice"),
    (b'{"cmd": "speak_text", "session_id": "a", "text": "%s"}' % (b"x " * 20_000), "characters", "text_too_long"),
]


@pytest.mark.parametrize(("body", "says", "code"), REFUSED)
def test_what_cannot_be_obeyed_is_one_error_and_nothing_else(
    port: PortProcess, body: bytes, says: str, code: str
) -> None:
    start(port, "a")
    port.say_body(body)
    error = port.hear()
    assert error["event"] == "error" and error["code"] == code
    assert says in error["message"]
    named = [name for name in ("a", "b", "nobody") if b'"session_id": "%s"' % name.encode() in body]
    assert error.get("session_id") == (named[0] if named else None)
    assert stop(port, "a") == []


def test_there_is_a_limit_to_sessions(port: PortProcess) -> None:
    for number in range(64):
        start(port, f"s{number}")
    port.say(cmd="start_session", session_id="one more")
    assert port.hear()["code"] == "overloaded"
    for number in range(64):
        stop(port, f"s{number}")


def test_what_an_engine_prints_never_comes_between_packets(port: PortProcess) -> None:
    start(port, "a", opts={"fault": "print@1:1"})
    port.say(cmd="speak_text", session_id="a", text=TEXT)
    assert audio(port.hear_until(is_done), "a") == tone_bytes("Hello there.", "This is a port, and it speaks.")
    stop(port, "a")


def test_a_worker_that_dies_costs_nothing_that_is_heard(port: PortProcess, tmp_path: Path) -> None:
    start(port, "a", opts={"fault": f"once={tmp_path / 'struck'};die@2"})
    port.say(cmd="speak_text", session_id="a", text="This worker dies in its sentence.")
    messages = port.hear_until(is_done)
    assert (tmp_path / "struck").exists()
    assert len(audio(messages, "a")) == len(tone_bytes("This worker dies in its sentence."))
    stop(port, "a")


def test_a_sentence_that_fails_is_an_error_of_its_session_and_the_rest_is_spoken(port: PortProcess) -> None:
    start(port, "a", opts={"fault": "raise"})
    start(port, "b")
    port.say(cmd="speak_text", session_id="a", text="This one fails.")
    messages = port.hear_until(is_done)
    assert [(message["event"], message["session_id"]) for message in messages] == [
        ("error", "a"),
        ("session_done", "a"),
    ]
    assert messages[0]["code"] == "sentence_failed"
    port.say(cmd="speak_text", session_id="b", text="This one does not.")
    assert audio(port.hear_until(is_done), "b") == tone_bytes("This one does not.")
    stop(port, "a")
    stop(port, "b")


@pytest.fixture
def slow(tmp_path: Path, tone_python: Path) -> Iterator[PortProcess]:
    """One that renders in real time, with a session that is in the middle of a text."""
    with port_process("tts", tmp_path, write_config(tmp_path, "tone", speed_rtf=1.0)) as port:
        assert port.hear()["event"] == "ready"
        start(port, "a")
        port.say(cmd="speak_text", session_id="a", text=LONG)
        assert port.hear()["event"] == "audio_chunk"
        yield port


def test_a_session_that_is_stopped_says_nothing_more(slow: PortProcess) -> None:
    began = time.monotonic()
    stop(slow, "a")
    assert time.monotonic() - began < 10.0  # the text lasts 15 s
    start(slow, "b")
    slow.say(cmd="speak_text", session_id="b", text="Hi.")
    assert {message["session_id"] for message in slow.hear_until(is_done)} == {"b"}


def test_a_second_text_takes_the_place_of_the_first_at_once(slow: PortProcess) -> None:
    began = time.monotonic()
    slow.say(cmd="speak_text", session_id="a", text="Stop talking.")
    messages = slow.hear_until(is_done)
    assert time.monotonic() - began < 10.0
    anew = [number for number, message in enumerate(messages) if message.get("seq") == 0]
    assert len(anew) == 1  # chunks of the first text may have been on their way
    assert audio(messages[anew[0] :], "a") == tone_bytes("Stop talking.")


def test_a_second_text_that_is_refused_leaves_the_first_alone(slow: PortProcess) -> None:
    slow.say(cmd="speak_text", session_id="a", text="Stop talking.", voice="nobody")
    assert slow.hear_until(lambda message: message["event"] == "error")[-1]["code"] == "unknown_voice"
    assert slow.hear()["seq"] > 0


def test_an_empty_text_ends_the_first_one(slow: PortProcess) -> None:
    slow.say(cmd="speak_text", session_id="a", text="")
    slow.hear_until(is_done)
    assert stop(slow, "a") == []


def test_shutdown_says_goodbye_while_something_is_spoken(slow: PortProcess) -> None:
    slow.say(cmd="shutdown", session_id="_")
    assert slow.hear_until(lambda message: message["event"] == "bye")[-1] == {"event": "bye"}
    assert ends_at_once(slow) == 0
    assert slow.hear_rest() == []


def test_sigterm_ends_it_at_once_while_something_is_spoken(slow: PortProcess) -> None:
    slow.terminate()
    assert ends_at_once(slow) == 0


def test_the_end_of_its_input_ends_it_at_once_while_something_is_spoken(slow: PortProcess) -> None:
    slow.hang_up()
    assert ends_at_once(slow) == 0
    assert "Traceback" not in slow.stderr


@pytest.mark.parametrize("how", ["terminate", "hang_up"])
def test_it_ends_at_once_while_it_loads(tmp_path: Path, tone_python: Path, how: str) -> None:
    with port_process("tts", tmp_path, write_config(tmp_path, "tone", load_s=60.0)) as port:
        wait_until(lambda: any(map(is_worker, port.family())), "its worker is there", PATIENCE_S)
        getattr(port, how)()
        assert ends_at_once(port) == 0


def test_a_packet_that_is_too_long_is_one_error_and_the_end(port: PortProcess, tmp_path: Path) -> None:
    with port_process("tts", tmp_path, write_config(tmp_path, "tone")) as port:
        assert port.hear()["event"] == "ready"
        port.say(cmd="start_session", session_id="a")
        port.say_bytes(header(2**31) + b"x" * 100)
        events = port.hear_rest()
        assert [event["event"] for event in events] == ["session_started", "error"]
        assert "at most 1048576 are read" in events[1]["message"]
        assert ends_at_once(port) == 65


def test_an_end_in_the_middle_of_a_packet_is_one_error(tmp_path: Path, tone_python: Path) -> None:
    with port_process("tts", tmp_path, write_config(tmp_path, "tone")) as port:
        assert port.hear()["event"] == "ready"
        port.say_bytes(header(100) + b"{")
        port.hang_up()
        assert [event["message"] for event in port.hear_rest()] == ["the stream ended in the middle of a packet"]
        assert ends_at_once(port) == 65


def test_an_engine_that_cannot_load_is_one_error_that_says_why(tmp_path: Path, tone_python: Path) -> None:
    with port_process("tts", tmp_path, write_config(tmp_path, "tone", load_fault="import")) as port:
        events = port.hear_rest()
        assert [event["event"] for event in events] == ["error"]
        assert "No module named 'scripted'" in events[0]["message"]
        assert port.wait() == 1


def test_a_backend_that_there_is_not_is_an_error(tmp_path: Path, tone_python: Path) -> None:
    with port_process("tts", tmp_path, write_config(tmp_path, "tone"), "--backend", "nobody") as port:
        assert "there is no backend 'nobody'" in port.hear()["message"]
        assert port.wait() == 1


def test_a_backend_that_only_listens_is_refused(tmp_path: Path, tone_python: Path) -> None:
    with port_process("tts", tmp_path, write_config(tmp_path, "pitch"), "--backend", "pitch") as port:
        assert "kind stt" in port.hear()["message"]
        assert port.wait() == 1


def test_a_configuration_that_is_wrong_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "wrong.yaml"
    config.write_text("backends: 7")
    with port_process("tts", tmp_path, config) as port:
        assert "wrong.yaml" in port.hear()["message"]
        assert port.wait() == 78


def test_files_are_no_pipes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "voice_server", "port", "tts"]
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(command, cwd=HOME, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"a port speaks through pipes" in done.stderr
    assert (tmp_path / "out").read_bytes() == b""
