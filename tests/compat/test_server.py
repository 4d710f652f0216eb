"""What other tests here rely on: the server that they share, and how they read audio."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.compat.audio import Sound, assert_lasts, assert_says, decode
from tests.compat.conftest import CompatServer

TEXT = "The train to the coast leaves at noon. We should buy our tickets before breakfast."


def wav_of(server: CompatServer, text: str, backend: str) -> bytes:
    headers = {"authorization": f"Bearer {server.token}"}
    body = {"text": text, "backend": backend}
    answer = httpx.post(f"{server.http}/tts", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.content


def test_the_server_keeps_out_who_has_no_key(server: CompatServer) -> None:
    assert httpx.post(f"{server.http}/tts", json={"text": TEXT}).status_code == 401


def test_the_last_word_of_real_speech_is_heard(server: CompatServer, hear: Callable[[Sound], str]) -> None:
    assert_says(hear(decode(wav_of(server, TEXT, "hibari"))), TEXT)


def test_an_end_that_was_cut_off_is_noticed(server: CompatServer, hear: Callable[[Sound], str]) -> None:
    """The two checks can fail."""
    whole = decode(wav_of(server, TEXT, "hibari"))
    cut = Sound(whole.samples[: -whole.rate], whole.rate)
    with pytest.raises(AssertionError):
        assert_says(hear(cut), TEXT)
    with pytest.raises(AssertionError):
        assert_lasts(cut, whole.seconds)
