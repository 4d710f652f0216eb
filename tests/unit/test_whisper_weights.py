"""Weights from packages, with small files in the place of large ones: what is loaded is what was published."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

from voice_server.backends.whisper import weights
from voice_server.worker.adapter import BackendError

FILES = {"config.json": b"{}", "model.bin": b"first half, second half", "tokenizer.json": b"[]", "vocabulary.txt": b"a"}
SHA256 = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the packages of `whole` (one) and `halves` (two)."""
    site = tmp_path / "site"
    content = {name: body for name, body in FILES.items() if name != "model.bin"}
    _package(site / "made_up_whole", FILES)
    _package(site / "made_up_half_1", content | {"model.bin.part1": FILES["model.bin"][:11]})
    _package(site / "made_up_half_2", {"model.bin.part2": FILES["model.bin"][11:]})
    whole = weights.Packaged(("made_up_whole/data",), ("model.bin",), SHA256)
    parts = ("model.bin.part1", "model.bin.part2")
    halves = weights.Packaged(("made_up_half_1/data", "made_up_half_2/data"), parts, SHA256)
    monkeypatch.setattr(weights, "PACKAGED", {"whole": whole, "halves": halves})
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    return site


def _package(folder: Path, content: dict[str, bytes]) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").touch()
    for name, body in content.items():
        (folder / "data" / name).write_bytes(body)


def locate(model: str, home: Path) -> Path:
    return weights.locate(model, print, {"VOICE_SERVER_CACHE": str(home)})


def test_a_whole_package_is_used_where_it_lies(packages: Path, tmp_path: Path) -> None:
    assert locate("whole", tmp_path) == packages / "made_up_whole" / "data"


def test_parts_are_joined_once(packages: Path, tmp_path: Path) -> None:
    folder = locate("halves", tmp_path)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    before = (folder / "model.bin").stat().st_ino
    assert (locate("halves", tmp_path) / "model.bin").stat().st_ino == before


def test_a_joined_file_that_was_damaged_is_joined_anew(packages: Path, tmp_path: Path) -> None:
    model = locate("halves", tmp_path) / "model.bin"
    model.write_bytes(FILES["model.bin"][:-1] + b"?")
    locate("halves", tmp_path)
    assert model.read_bytes() == FILES["model.bin"]


@pytest.mark.parametrize(
    ("model", "file"), [("whole", "made_up_whole/data/model.bin"), ("halves", "made_up_half_2/data/model.bin.part2")]
)
def test_a_damaged_package_is_refused_with_what_to_do(packages: Path, tmp_path: Path, model: str, file: str) -> None:
    (packages / file).write_bytes(b"something else")
    with pytest.raises(BackendError, match=re.escape(str(packages / file))) as refused:
        locate(model, tmp_path)
    assert "checksum" in refused.value.message
    assert f"delete {sys.prefix}" in refused.value.message
    assert not refused.value.retryable
    assert not (tmp_path / "whisper" / model / "model.bin").exists()


def test_a_folder_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("config.json", "model.bin"):
        (tmp_path / name).touch()
    assert locate(str(tmp_path), tmp_path) == tmp_path


def test_a_folder_without_a_model_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    with pytest.raises(BackendError, match=r"no model\.bin"):
        locate(str(tmp_path), tmp_path)


def test_a_folder_that_is_not_there_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="there is no folder"):
        locate(str(tmp_path / "missing"), tmp_path)
