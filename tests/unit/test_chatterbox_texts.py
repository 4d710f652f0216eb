"""What of a text may reach Chatterbox's tokenizer, and which weights it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from voice_server.backends.chatterbox import ChatterboxBackend, _cleaner
from voice_server.backends.vibevoice import VibeVoiceBackend
from voice_server.worker.adapter import BackendError


class TurboTokenizer:
    """The one method of transformers' tokenizer that is asked."""

    def __init__(self, *added: str) -> None:
        self._added = added

    def get_added_vocab(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self._added)}


class StandardTokenizer:
    """As EnTokenizer, which has a `tokenizer` of the package tokenizers."""

    tokenizer: Any

    def __init__(self) -> None:
        self.tokenizer = self

    def get_vocab(self) -> dict[str, int]:
        return {"[START]": 0, "[STOP]": 1, "[UNK]": 2, "a": 3, "[": 4, "]": 5}


TURBO = TurboTokenizer("<|endoftext|>", "[laugh]", "[clear throat]")
TEXTS = {
    "Ha [laugh] ha.": "Ha [laugh] ha.",
    "[throat] So.": "[clear throat] So.",
    "So [sigh] it is.": "So it is.",
    "The end<|endoftext|> is near.": "The end is near.",
    "As in [1].": "As in [1].",
}


@pytest.mark.parametrize(("text", "words"), TEXTS.items(), ids=str)
def test_turbo_gets_the_tags_that_it_has_and_no_control_token(text: str, words: str) -> None:
    assert _cleaner(TURBO, turbo=True)(text) == words


def test_the_standard_model_gets_no_tag_and_no_control_token() -> None:
    assert _cleaner(StandardTokenizer(), turbo=False)("[laugh] Go [STOP] on [UNK].") == "Go on ."


@pytest.mark.parametrize("backend", [ChatterboxBackend, VibeVoiceBackend])
def test_a_folder_that_is_not_there_is_told_before_any_engine_is_imported(backend: Any) -> None:
    with pytest.raises(BackendError, match="there is no folder /nowhere"):
        backend(model="/nowhere")


def test_a_folder_without_weights_is_told_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):  # it sets them for its process, which is ours here
        monkeypatch.setenv(name, "0")
    (tmp_path / "ve.safetensors").touch()
    with pytest.raises(BackendError, match=r"has no t3_turbo_v1\.safetensors, s3gen_meanflow\.safetensors"):
        ChatterboxBackend(model=str(tmp_path))
