"""What a voice says in a preview, by the language of its sample."""

from __future__ import annotations

import pytest

from voice_server.core.limits import VoiceLimits
from voice_server.core.text.preview_texts import _TEXTS, preview_text
from voice_server.core.text.sentences import SentenceSplitter


@pytest.mark.parametrize("tag", ["pt", "pt-BR", "PT_br", " pt "])
def test_any_spelling_of_a_language_finds_its_sentence(tag: str) -> None:
    assert preview_text(tag) == _TEXTS["pt"]


@pytest.mark.parametrize(("tag", "same"), [("nb", "no"), ("fil", "tl"), ("yue-HK", "zh")])
def test_a_language_of_another_code_speaks_its_own(tag: str, same: str) -> None:
    assert preview_text(tag) == _TEXTS[same]


@pytest.mark.parametrize("tag", ["", "tlh", "-"])
def test_who_told_no_language_that_is_known_speaks_english(tag: str) -> None:
    assert preview_text(tag) == _TEXTS["en"]


@pytest.mark.parametrize("tag", list(_TEXTS))
def test_every_preview_is_one_short_sentence(tag: str) -> None:
    splitter = SentenceSplitter()
    assert len([*splitter.push(_TEXTS[tag]), *splitter.flush()]) == 1
    assert len(_TEXTS[tag]) < VoiceLimits().preview_chars / 3
