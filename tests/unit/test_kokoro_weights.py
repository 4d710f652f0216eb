from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from voice_server.backends.kokoro import weights
from voice_server.worker.adapter import BackendError

SHA256 = hashlib.sha256(b"onetwo").hexdigest()


def test_parts_with_the_right_sum_are_joined_in_order() -> None:
    assert weights.join([b"one", b"two"], SHA256) == b"onetwo"


@pytest.mark.parametrize("parts", [[b"two", b"one"], [b"one"], [b"one", b"twO"], []])
def test_parts_that_are_damaged_missing_or_out_of_order_are_refused(parts: list[bytes]) -> None:
    with pytest.raises(BackendError, match="damaged") as caught:
        weights.join(parts, SHA256)
    assert caught.value.code == "bad_config"


def test_a_model_of_ones_own_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"mine")
    assert weights.read(str(tmp_path / "mine.onnx")) == b"mine"


def test_a_model_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"mine\.onnx cannot be read: No such file"):
        weights.read(str(tmp_path / "mine.onnx"))
