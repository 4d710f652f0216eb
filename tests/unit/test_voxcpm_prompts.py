from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voice_server.backends.voxcpm.engine import Features, Prompt
from voice_server.backends.voxcpm.prompts import PromptStore, default_folder


def prompt(value: float, transcript: str = "") -> Prompt:
    patches = np.full((3, 4, 64), value, np.float32)
    return Prompt(Features(patches + 1, patches), transcript)


def values(found: Prompt | None) -> tuple[float, str] | None:
    return found and (float(found.features.continuation[0, 0, 0]), found.transcript)


@pytest.fixture
def store(tmp_path: Path) -> PromptStore:
    return PromptStore(tmp_path, "a model", voices=2)


def test_nothing_is_known_at_first(store: PromptStore) -> None:
    assert store.recall("v") is None
    assert store.find("v", b"sample", b"words") is None


def test_what_was_kept_is_found_by_another_process(store: PromptStore, tmp_path: Path) -> None:
    store.keep("v", prompt(1, "Wörter"), b"sample", b"words")
    other = PromptStore(tmp_path, "a model", voices=2)
    found = other.find("v", b"sample", b"words")
    assert values(found) == (1, "Wörter")
    assert found is not None
    assert found.features.reference is not None
    assert found.features.reference.dtype == np.float32


def test_features_without_a_reference_stay_so(store: PromptStore) -> None:
    patches = np.zeros((3, 2, 64), np.float32)
    kept = store.keep("v", Prompt(Features(None, patches)), b"sample")
    assert kept.features.reference is None
    assert kept.features.length == 3


@pytest.mark.parametrize("content", [(b"sample", b"other"), (b"samplew", b"ords"), (b"sample",)])
def test_other_content_is_not_found(store: PromptStore, content: tuple[bytes, ...]) -> None:
    store.keep("v", prompt(1), b"sample", b"words")
    assert store.find("w", *content) is None


def test_another_model_does_not_find_it(store: PromptStore, tmp_path: Path) -> None:
    store.keep("v", prompt(1), b"sample")
    assert PromptStore(tmp_path, "another model", voices=2).find("v", b"sample") is None


def test_the_first_worker_to_finish_decides_for_all(store: PromptStore, tmp_path: Path) -> None:
    store.keep("v", prompt(1), b"sample")
    late = PromptStore(tmp_path, "a model", voices=2)
    assert values(late.keep("v", prompt(2), b"sample")) == (1, "")


def test_the_voices_used_last_stay_in_memory(store: PromptStore) -> None:
    store.keep("a", prompt(1), b"a")
    store.keep("b", prompt(2), b"b")
    store.recall("a")
    store.keep("c", prompt(3), b"c")
    assert [values(store.recall(voice)) for voice in "abc"] == [(1, ""), None, (3, "")]


def test_a_damaged_file_is_computed_anew(store: PromptStore, tmp_path: Path) -> None:
    store.keep("v", prompt(1), b"sample")
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    other = PromptStore(tmp_path, "a model", voices=2)
    assert other.find("v", b"sample") is None
    assert values(other.keep("v", prompt(2), b"sample")) == (2, "")


def test_a_folder_that_cannot_be_written_costs_only_the_sharing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = PromptStore(tmp_path / "file" / "prompts", "a model", voices=2)
    assert values(store.keep("v", prompt(1), b"sample")) == (1, "")
    assert values(store.recall("v")) == (1, "")


def test_nothing_but_features_is_left_in_the_folder(store: PromptStore, tmp_path: Path) -> None:
    store.keep("v", prompt(1), b"sample")
    store.keep("v", prompt(1), b"sample")
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_the_folder_is_given_by_the_environment_or_the_user_s_own(tmp_path: Path) -> None:
    assert default_folder({"VOICE_SERVER_CACHE": str(tmp_path)}) == tmp_path / "prompts"
    assert default_folder({}) == Path.home() / ".cache" / "voice-server" / "prompts"


def test_features_of_a_sample_lie_beside_it_and_are_called_like_it(store: PromptStore, tmp_path: Path) -> None:
    sample = tmp_path / "voices" / "ada.wav"
    sample.parent.mkdir()
    store.keep("v", prompt(1), b"sample", sample=sample)
    (kept,) = sample.parent.iterdir()
    assert kept.name.startswith("ada.")
    assert store.find("v", b"sample", sample=sample) is not None
    assert store.find("v", b"sample") is None


def test_beside_a_sample_that_was_removed_meanwhile_nothing_is_left(store: PromptStore, tmp_path: Path) -> None:
    sample = tmp_path / "recording by url" / "prompt.wav"
    assert values(store.keep("v", prompt(1), b"sample", sample=sample)) == (1, "")
    assert not sample.parent.exists()
