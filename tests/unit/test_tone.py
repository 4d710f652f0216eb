from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.harness import hum_wav
from voice_server.backends.faults import Fault, fail_load, plan
from voice_server.backends.tone import ToneBackend, expected_samples, sample_pitch_hz, tone_pcm
from voice_server.worker.adapter import BackendError

TEXT = "The quick brown fox."


def render(backend: ToneBackend, text: str = TEXT, voice: str = "tone", **options: object) -> np.ndarray:
    return np.concatenate(list(backend.render(text, voice, **options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("chunk_ms", [1, 7, 80, 10_000])
def test_the_audio_does_not_depend_on_its_chunks(chunk_ms: int) -> None:
    assert np.array_equal(render(ToneBackend(chunk_ms=chunk_ms)), tone_pcm(TEXT, "tone"))


def test_the_length_is_known_beforehand() -> None:
    for text, voice, speed in itertools.product(["", "Hi.", TEXT], ["tone", "low", "high"], [0.5, 1.0, 2.0]):
        assert len(tone_pcm(text, voice, speed=speed)) == expected_samples(text, voice, speed)
    assert expected_samples("x" * 100, "tone") == 6 * 24000


def test_every_text_voice_and_speed_sounds_different() -> None:
    texts = [f"Sentence number {number}." for number in range(10, 60)]
    sounds = {
        tone_pcm(text, voice, speed=speed)[:100].tobytes()
        for text, voice, speed in itertools.product(texts, ["tone", "low", "high"], [1.0, 1.5])
    }
    assert len(sounds) == 50 * 3 * 2


def test_the_audio_is_loud_and_never_clipped() -> None:
    samples = tone_pcm("x" * 50, "tone")
    assert 0.2 < float(np.sqrt(np.mean(samples**2))) < 0.5
    assert float(np.max(np.abs(samples))) <= 0.7


def test_another_process_computes_the_same_bytes() -> None:
    code = (
        f"import zlib; from voice_server.backends.tone import *; print(zlib.crc32(tone_pcm({TEXT!r}, 'low').tobytes()))"
    )
    root = Path(__file__).parents[2]
    output = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert int(output) == 900596196  # nor does it change from one release to the next


@pytest.mark.parametrize("sung_hz", [110.0, 330.4, 990.0])
def test_a_sample_s_strongest_pitch_is_that_voice_s(tmp_path: Path, sung_hz: float) -> None:
    (tmp_path / "ada.wav").write_bytes(hum_wav(pitch_hz=sung_hz))
    assert sample_pitch_hz(str(tmp_path / "ada.wav")) == round(sung_hz)


@pytest.mark.parametrize("sung_hz", [20.0, 5_000.0])
def test_a_pitch_that_nobody_has_is_not_taken(tmp_path: Path, sung_hz: float) -> None:
    (tmp_path / "ada.wav").write_bytes(hum_wav(pitch_hz=sung_hz))
    assert 60 <= sample_pitch_hz(str(tmp_path / "ada.wav")) <= 1_000


def test_a_cloned_voice_is_rendered_in_its_pitch_as_long_as_the_first_one(tmp_path: Path) -> None:
    (tmp_path / "ada.wav").write_bytes(hum_wav(pitch_hz=330.0))
    backend = ToneBackend()
    backend.prepare_voice("key", str(tmp_path / "ada.wav"), "")
    assert np.array_equal(render(backend, voice="key"), tone_pcm(TEXT, "key", pitch_hz=330.0))
    assert len(render(backend, voice="key")) == expected_samples(TEXT, "tone")
    assert backend.voices() == ["tone", "low", "high"]


@pytest.mark.parametrize("content", [None, b"", b"RIFF", hum_wav()[:44], hum_wav()[:44] + bytes(9_600)])
def test_a_sample_without_a_sound_is_no_voice(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "ada.wav").write_bytes(content)
    with pytest.raises(BackendError) as error:
        ToneBackend().prepare_voice("key", str(tmp_path / "ada.wav"), "")
    assert error.value.code == "unknown_voice"


def test_babble_goes_on_beyond_the_text() -> None:
    chunks = ToneBackend().render("Hi.", "tone", fault="babble")
    babble = np.concatenate(list(itertools.islice(chunks, 100)))
    assert len(babble) == 100 * 1920
    assert np.array_equal(babble[: expected_samples("Hi.", "tone")], tone_pcm("Hi.", "tone"))


def test_nan_spoils_exactly_one_chunk() -> None:
    spoiled = [bool(np.isnan(chunk).any()) for chunk in ToneBackend().render(TEXT, "tone", fault="nan@2")]
    assert spoiled.index(True) == 2
    assert spoiled.count(True) == 1


def test_a_fault_strikes_before_its_chunk() -> None:
    chunks = ToneBackend().render(TEXT, "tone", fault="raise@3")
    assert len(list(itertools.islice(chunks, 3))) == 3
    with pytest.raises(RuntimeError, match="scripted"):
        next(chunks)


def test_a_fault_with_once_strikes_once(tmp_path: Path) -> None:
    backend = ToneBackend(fault=f"once={tmp_path / 'struck'};raise@0")
    with pytest.raises(RuntimeError):
        render(backend)
    assert np.array_equal(render(backend), tone_pcm(TEXT, "tone"))


def test_a_fault_with_while_strikes_until_its_file_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "broken"
    file.touch()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            fail_load(f"while={file};raise")
    file.unlink()
    fail_load(f"while={file};raise")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", Fault()),
        ("die@3", Fault("die", 3)),
        ("hang_gil@1:2.5", Fault("hang_gil", 1, "2.5")),
        ("stderr:20", Fault("stderr", 0, "20")),
        ("babble", Fault("babble")),
        ("hush", Fault("hush")),
    ],
)
def test_a_fault_is_written_as_name_chunk_and_argument(text: str, fault: Fault) -> None:
    assert plan(text) == fault


def test_a_fault_that_does_not_exist_is_refused_before_any_audio() -> None:
    with pytest.raises(BackendError) as error:
        ToneBackend().render(TEXT, "tone", fault="explode")
    assert error.value.code == "bad_option"


def test_each_start_is_recorded(tmp_path: Path) -> None:
    record = tmp_path / "starts"
    for _ in range(3):
        ToneBackend(record=str(record))
    starts = [float(line) for line in record.read_text().splitlines()]
    assert len(starts) == 3
    assert starts == sorted(starts)
