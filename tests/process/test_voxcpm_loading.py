"""Checkpoints that upstream loads without a word, or with one that says nothing."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.conftest import StartVoxcpm, edit_tensors
from voice_server.wire.messages import LoadFailed, Ready

ADAPTER = "voice_server.backends.voxcpm:VoxcpmBackend"

Edit = Callable[[Path], None]


def lose_tensors(folder: Path) -> None:
    def lose(header: dict[str, Any], data: bytearray) -> None:
        last = sorted((key for key in header if key != "__metadata__"), key=lambda key: header[key]["data_offsets"])
        for key in reversed(last[len(last) // 2 :]):
            del data[header.pop(key)["data_offsets"][0] :]

    edit_tensors(folder / "model.safetensors", lose)


def add_tensor(folder: Path) -> None:
    def add(header: dict[str, Any], data: bytearray) -> None:
        header["a.stranger"] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
        data += bytes(4)

    edit_tensors(folder / "model.safetensors", add)


def poison(folder: Path) -> None:
    def spoil(header: dict[str, Any], data: bytearray) -> None:
        begin, end = header["lm_to_dit_proj.bias"]["data_offsets"]
        data[begin:end] = struct.pack("<f", float("nan")) * ((end - begin) // 4)

    edit_tensors(folder / "model.safetensors", spoil)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def widen(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["scalar_quantization_latent_dim"] += 1
    (folder / "config.json").write_text(json.dumps(config))


def forget_control_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    for token in tokenizer["added_tokens"]:
        token["special"] = token["id"] < 100
    path.write_text(json.dumps(tokenizer))


def remove(name: str) -> Edit:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lose_tensors, "weights are missing"),
        (add_tensor, "no place for: a.stranger"),
        (truncate, "damaged"),
        (widen, "other shapes"),
        (forget_control_tokens, "control tokens"),
        (remove("tokenizer.json"), "no tokenizer.json"),
        (remove("audiovae.pth"), "neither audiovae.safetensors nor audiovae.pth"),
        (remove("config.json"), "no config.json"),
    ],
)
def test_a_wrong_checkpoint_is_a_load_failure_that_says_what_is_wrong(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, tmp_path: Path, edit: Edit, words: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(voxcpm_models / "0.5b", folder)
    edit(folder)
    with voxcpm_worker(folder, ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(folder))
        assert isinstance(answer, LoadFailed)
        assert words in answer.message
        assert not answer.retryable


def test_a_model_that_computes_no_numbers_never_gets_ready(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(voxcpm_models / "0.5b", folder)
    poison(folder)
    with voxcpm_worker(folder, ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(folder))
        assert isinstance(answer, LoadFailed)
        assert "no numbers" in answer.message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model": "/no/such/folder"}, "no folder"),
        ({"model": "plain-name"}, "no folder"),
        ({"engine": "other"}, "torch, batched or nano"),
        ({"loras": "/no/such/folder"}, "no folder"),
        ({"engine": "nano"}, "CUDA"),
    ],
    ids=str,
)
def test_a_wrong_option_is_a_configuration_error(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, options: dict[str, Any], words: str
) -> None:
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, **{"model": str(voxcpm_models / "0.5b"), **options})
        assert isinstance(answer, LoadFailed)
        assert words in answer.message
        assert not answer.retryable


def test_a_model_that_was_never_downloaded_is_tried_again_later(
    voxcpm_worker: StartVoxcpm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, model="openbmb/VoxCPM2")
        assert answer == LoadFailed("openbmb/VoxCPM2 could not be downloaded, and was not before", retryable=True)


def test_what_a_loaded_model_is_comes_from_its_checkpoint(voxcpm_worker: StartVoxcpm, voxcpm_models: Path) -> None:
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(voxcpm_models / "1.5"))
        assert answer == Ready(44100, 4, ["zero-shot"], deterministic=True, can_clone=True)
