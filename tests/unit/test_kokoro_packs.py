from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voice_server.backends.kokoro.packs import Packs, Style, blend_parts, read_file, read_folder
from voice_server.worker.adapter import BackendError


def pack(value: float, lengths: int = 510) -> Style:
    return np.full((lengths, 256), value, np.float32)


def refusal(folder: Path) -> str:
    with pytest.raises(BackendError) as caught:
        read_folder(str(folder))
    assert caught.value.code == "bad_config"
    return caught.value.message


def test_a_blend_is_the_weighted_mean_of_its_voices() -> None:
    style = Packs({"a": pack(1.0), "b": pack(4.0)}).style("a(2)+b(1)")
    assert style.dtype == np.float32
    assert np.allclose(style, 2.0)


def test_voices_without_weights_have_equal_parts() -> None:
    assert np.allclose(Packs({"a": pack(1.0), "b": pack(2.0)}).style("a+b"), 1.5)


def test_a_blend_is_as_long_as_its_shortest_pack() -> None:
    assert len(Packs({"a": pack(1.0), "b": pack(2.0, 100)}).style("a+b")) == 100


def test_a_voice_that_is_called_like_a_blend_is_itself() -> None:
    assert np.allclose(Packs({"a": pack(1.0), "b": pack(2.0), "a+b": pack(9.0)}).style("a+b"), 9.0)


@pytest.mark.parametrize("voice", ["c", "a+c", "a(0)", "a(-1)", "a(1", "", "a++a", "a(99999)"])
def test_what_is_no_voice_and_no_blend_of_voices_is_refused(voice: str) -> None:
    with pytest.raises(BackendError) as caught:
        Packs({"a": pack(1.0)}).style(voice)
    assert caught.value.code == "unknown_voice"


def test_parts_tell_names_and_weights() -> None:
    assert blend_parts("af_bella(2)+af_sky(0.5)+b") == [("af_bella", 2.0), ("af_sky", 0.5), ("b", 1.0)]


def test_a_folder_holds_archives_and_plain_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", af_heart=pack(1.0)[:, np.newaxis], am_adam=pack(2.0))
    (tmp_path / "bf_emma.bin").write_bytes(pack(3.0).tobytes())
    (tmp_path / "README.md").write_text("not a voice")
    packs = read_folder(str(tmp_path))
    assert {name: (style.shape, float(style[0, 0])) for name, style in packs.items()} == {
        "af_heart": ((510, 256), 1.0),
        "am_adam": ((510, 256), 2.0),
        "bf_emma": ((510, 256), 3.0),
    }


def test_an_archive_may_be_called_bin_as_kokoro_onnx_does(tmp_path: Path) -> None:
    with (tmp_path / "voices-v1.0.bin").open("wb") as file:
        np.savez(file, af_heart=pack(1.0))
    assert list(read_folder(str(tmp_path))) == ["af_heart"]


@pytest.mark.parametrize("content", [b"PK\3\4 no archive", b"123", b"", pack(float("nan")).tobytes(), b"1234" * 255])
def test_a_file_that_holds_no_style_vectors_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "af_broken.bin").write_bytes(content)
    assert "af_broken.bin" in refusal(tmp_path)


def test_an_archive_of_objects_is_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", af_heart=np.array([{"a": 1}], dtype=object))
    assert "evil.npz" in refusal(tmp_path)


def test_a_folder_that_is_missing_or_empty_is_named(tmp_path: Path) -> None:
    assert "voices_here" in refusal(tmp_path / "voices_here")
    assert str(tmp_path) in refusal(tmp_path)


def test_a_file_gives_its_packs_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "am_adam.bin").write_bytes(pack(0.5).tobytes())
    assert [name for name, _ in read_file(tmp_path / "am_adam.bin")] == ["am_adam"]
