"""`with Voice(...) as voice`: the same in a program without an event loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.harness import TIMEOUT_S, tone_bytes, wait_until
from tests.process.embedding_desk import write_config
from tests.process.test_embedding import LONG, SOON_S, TEXT
from voice_server import Voice, VoiceError
from voice_server.core.audio.floats import to_pcm

pytestmark = pytest.mark.usefixtures("tone_python")

INTERRUPTED = f"""
from voice_server import Voice
with Voice("slow", config="backends.yaml") as voice:
    voice.await_ready()
    try:
        print("speaking", flush=True)
        voice.generate("{LONG}")
    except KeyboardInterrupt:
        print(len(voice.generate("Hi.")), flush=True)
"""
FORGETFUL = """
import psutil
from voice_server import Voice
voice = Voice("tone").blocking()
voice.await_ready()
print(*(child.pid for child in psutil.Process().children(recursive=True)))
"""


def environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_the_verbs_are_plain_calls(tmp_path: Path) -> None:
    with Voice("tone") as voice:
        audio = voice.generate(TEXT[0], speed=2.0)
        voice.save(audio, tmp_path / "hello.wav")
        assert (voice.info.status, voice.sample_rate) == ("ready", 24_000)
    assert to_pcm(audio) == tone_bytes(TEXT[0], speed=2.0)
    assert (tmp_path / "hello.wav").exists()


def test_a_stream_is_a_plain_loop() -> None:
    with Voice("tone") as voice:
        audio = b"".join(to_pcm(chunk) for chunk in voice.stream(" ".join(TEXT)))
    assert audio == tone_bytes(*TEXT)


def test_tokens_may_come_from_a_plain_iterator_that_blocks() -> None:
    heard = threading.Event()

    def tokens() -> Iterator[str]:
        yield TEXT[0] + " "
        yield TEXT[1][:5]
        assert heard.wait(TIMEOUT_S)
        yield TEXT[1][5:]

    audio = b""
    with Voice("tone") as voice:
        for chunk in voice.stream_tokens(tokens()):
            heard.set()
            audio += to_pcm(chunk)
    assert audio == tone_bytes(*TEXT)


def test_leaving_a_loop_frees_the_engine(tmp_path: Path) -> None:
    with Voice("slow", config=write_config(tmp_path)) as voice:
        for _ in voice.stream(LONG):
            break
        began = time.monotonic()
        voice.generate("Hi.")
        assert time.monotonic() - began < SOON_S


def test_errors_are_the_same() -> None:
    with Voice("tone") as voice:
        with pytest.raises(VoiceError) as caught:
            voice.generate("Hi.", voice="nobody")
        assert caught.value.code == "unknown_voice"
    with pytest.raises(VoiceError) as caught:
        voice.generate("Hi.")
    assert caught.value.code == "going_away"


def test_what_cannot_start_leaves_no_thread() -> None:
    with pytest.raises(VoiceError):
        Voice("nobody").blocking()
    assert "voice" not in [thread.name for thread in threading.enumerate()]


def test_many_threads_may_speak_at_once() -> None:
    audio: dict[str, bytes] = {}
    with Voice("tone") as voice:
        threads = [
            threading.Thread(target=lambda text=text: audio.update({text: to_pcm(voice.generate(text))}))
            for text in TEXT
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert audio == {text: tone_bytes(text) for text in TEXT}


def test_ctrl_c_ends_what_is_waited_for_and_the_voice_goes_on(tmp_path: Path) -> None:
    write_config(tmp_path)
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, cwd=tmp_path, env=environ(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "speaking\n"
        time_is_up = time.monotonic() + SOON_S
        process.send_signal(signal.SIGINT)
        assert int(process.stdout.readline()) > 0
        assert time.monotonic() < time_is_up
    assert process.returncode == 0


def test_a_program_that_forgets_to_stop_leaves_no_process(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORGETFUL], cwd=tmp_path, env=environ(), capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) >= 3
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "the workers and their guardian are gone")


def test_a_worker_finds_a_package_that_imports_nothing() -> None:
    command = "import sys, voice_server; print([name for name in sys.modules if name.startswith('voice_server')])"
    told = subprocess.run([sys.executable, "-c", command], env=environ(), capture_output=True, text=True, check=True)
    assert told.stdout == "['voice_server']\n"


def test_the_package_has_no_other_names() -> None:
    import voice_server

    with pytest.raises(AttributeError):
        _ = voice_server.Speaker  # type: ignore[attr-defined]
