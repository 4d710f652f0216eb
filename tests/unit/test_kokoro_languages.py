from __future__ import annotations

import pytest

from voice_server.backends.kokoro.g2p import choose_language
from voice_server.worker.adapter import BackendError


@pytest.mark.parametrize(
    ("text", "voice", "language"),
    [
        ("Hello there.", "af_heart", "en"),
        ("Hello there.", "jm_kumo", "en"),
        ("Hello there.", "bf_emma", "en-gb"),
        ("Hello there.", "emma", "en"),
        ("今日は良い天気です。", "jf_alpha", "ja"),
        ("今日は良い天気です。", "bf_emma", "ja"),
        ("カタカナ", "af_heart", "ja"),
        ("GPUの話をします。", "jf_alpha", "ja"),
        ("The word 今日 means today.", "jf_alpha", "en"),
        ("42.", "jm_kumo", "en"),
        ("42.", "bm_george", "en-gb"),
    ],
)
def test_the_script_decides_and_then_the_voice(text: str, voice: str, language: str) -> None:
    assert choose_language(text, voice) == language


def test_what_is_wanted_goes_before_both() -> None:
    assert choose_language("42", "af_heart", "ja") == "ja"
    assert choose_language("Hola.", "ef_dora", "en") == "en"


def test_a_voice_of_a_language_that_cannot_be_read_is_refused_with_the_way_out() -> None:
    with pytest.raises(BackendError) as caught:
        choose_language("Hola, buenos días.", "ef_dora")
    assert caught.value.code == "bad_option"
    assert "Spanish" in caught.value.message and "en, en-gb, ja" in caught.value.message


def test_a_language_that_is_not_known_is_refused() -> None:
    with pytest.raises(BackendError) as caught:
        choose_language("Hallo.", "af_heart", "de")
    assert caught.value.code == "bad_option"
