"""Text → hibari through the port `tts` → Whisper through the port `stt` → text, at the pace of a microphone."""

from __future__ import annotations

import base64
import itertools
import time
from pathlib import Path

from tests.e2e.test_speech import SENTENCES, word_error_rate
from tests.process.port_driver import HOME, pcm_of_f32, port_process, samples_b64
from voice_server.core.audio.pcm import Resampler

TEXT = " ".join(SENTENCES)
RATE = 16_000
PIECE_S = 0.1


def test_what_one_port_speaks_another_one_reads_back(tmp_path: Path, hibari_python: Path, whisper_python: Path) -> None:
    told = hear(tmp_path, speak(tmp_path))
    *partials, final = (message["text"] for message in told)
    assert told[-1]["event"] == "final" and word_error_rate(TEXT, final) <= 0.15
    grown = [text for text, _ in itertools.groupby(partials) if text]
    assert len(grown) >= 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise([*grown, final]))


def speak(folder: Path) -> bytes:
    """PCM s16le at 16 kHz."""
    with port_process("tts", folder, HOME / "backends.yaml", "--backend", "hibari") as port:
        port.say(cmd="start_session", session_id="a")
        port.say(cmd="speak_text", session_id="a", text=TEXT)
        messages = port.hear_until(lambda message: message["event"] in ("session_done", "error"))
    assert messages[-1]["event"] == "session_done"
    chunks = [message for message in messages if message["event"] == "audio_chunk"]
    resampler = Resampler(chunks[0]["sample_rate"], RATE)
    spoken = [resampler.push(pcm_of_f32(base64.b64decode(chunk["pcm_b64"]))) for chunk in chunks]
    return b"".join([*spoken, resampler.flush()])


def hear(folder: Path, pcm: bytes) -> list[dict[str, str]]:
    size = 2 * int(PIECE_S * RATE)
    with port_process("stt", folder, HOME / "backends.yaml", "--backend", "whisper-tiny") as port:
        assert port.hear()["event"] == "ready"
        port.say(cmd="start_session", session_id="a", language="en")
        assert port.hear()["event"] == "session_started"
        begun = time.monotonic()
        for number, at in enumerate(range(0, len(pcm), size), 1):
            time.sleep(max(0.0, begun + number * PIECE_S - time.monotonic()))
            port.say(cmd="audio_chunk", session_id="a", pcm_b64=samples_b64(pcm[at : at + size]))
        port.say(cmd="stop_session", session_id="a")
        return port.hear_until(lambda message: message["event"] in ("final", "error"))
