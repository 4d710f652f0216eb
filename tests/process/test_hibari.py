"""The real engine in its real environment; its one voice is in its package, so nothing is downloaded at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.process.worker_driver import loaded
from voice_server.wire.messages import Done, Failed

HIBARI = "voice_server.backends.hibari:HibariBackend"
TEXT = "Hello there. How are you?"


def test_two_processes_speak_the_same_bytes_in_small_chunks(hibari_python: Path) -> None:
    spoken = []
    for _ in range(2):
        with loaded(HIBARI, python=str(hibari_python)) as worker:
            spoken.append(worker.render(TEXT, "heart"))
    assert spoken[0] == spoken[1]
    pcm, end = spoken[0]
    assert 1.0 < len(pcm) / 48000 < 4.0
    assert isinstance(end, Done)
    assert end.chunks > 10


def test_it_speaks_faster_when_asked_to(hibari_python: Path) -> None:
    with loaded(HIBARI, python=str(hibari_python)) as worker:
        assert len(worker.render(TEXT, speed=2.0)[0]) < 0.7 * len(worker.render(TEXT, render_id=2)[0])


@pytest.mark.parametrize(
    ("text", "voice", "options", "code"),
    [
        ("你好。", "heart", {}, "empty_audio"),
        ("🙂", "heart", {}, "empty_audio"),
        (TEXT, "emma", {}, "unknown_voice"),
        (TEXT, "heart", {"speed": 0.1}, "bad_option"),
    ],
)
def test_what_it_cannot_do_is_an_error_with_a_code(
    hibari_python: Path, text: str, voice: str, options: dict[str, Any], code: str
) -> None:
    with loaded(HIBARI, python=str(hibari_python)) as worker:
        end = worker.render(text, voice, **options)[1]
        assert isinstance(end, Failed)
        assert end.code == code
        assert not end.retryable
