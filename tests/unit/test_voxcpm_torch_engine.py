"""What is decided before anything is loaded; the rest needs torch (tests/process)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from voice_server.backends.voxcpm.torch_engine import TorchEngine
from voice_server.worker.adapter import BackendError


def refusal(folder: Path, optimize: Literal["auto"] | bool, renders: Any) -> str:
    """Why an engine on a GPU does not load. The folder is empty, so none does."""
    with pytest.raises(BackendError) as raised:
        TorchEngine(folder, "cuda", optimize, renders, None, print)
    assert raised.value.code == "bad_config"
    return raised.value.message


@pytest.mark.parametrize("optimize", ["auto", True])
def test_a_compiled_model_holds_one_render_and_no_more(tmp_path: Path, optimize: Literal["auto"] | bool) -> None:
    words = "a compiled model holds one render open, not 4"
    assert words in refusal(tmp_path, optimize, 4)
    assert words not in refusal(tmp_path, optimize, 1)


@pytest.mark.parametrize(("optimize", "renders"), [(False, 4), ("auto", "auto"), (True, "auto")])
def test_other_numbers_of_renders_come_as_far_as_the_checkpoint(
    tmp_path: Path, optimize: Literal["auto"] | bool, renders: Any
) -> None:
    assert "no config.json" in refusal(tmp_path, optimize, renders)
