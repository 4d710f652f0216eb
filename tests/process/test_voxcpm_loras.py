from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import LOAD_S, ROOT
from tests.process.conftest import StartVoxcpm
from tests.process.worker_driver import Worker
from voice_server.wire.messages import Done, Failed, LoadFailed

TEXT = "Hello there, how are you?"
ADAPTER = "voice_server.backends.voxcpm:VoxcpmBackend"

# What the package itself says, alone in its environment, with an adapter loaded its own way at the adapter's own rank.
NATIVE = """
import json, sys, numpy as np
from voice_server.backends.voxcpm import VoxcpmBackend, standins
standins.install()
import torch
from voxcpm import VoxCPM
from voxcpm.model.voxcpm2 import LoRAConfig
folder = sys.argv[1]
def native(lora=""):
    config = LoRAConfig(**json.load(open(f"{folder}/loras/{lora}/lora_config.json"))["lora_config"]) if lora else None
    model = VoxCPM.from_pretrained(folder, load_denoiser=False, optimize=False, device="cpu", lora_config=config)
    if lora:
        model.load_lora(f"{folder}/loras/{lora}")
    torch.manual_seed(3)
    return np.concatenate(list(model.generate_streaming("Hello there.", min_len=8)))
ours = VoxcpmBackend("cpu", model=folder, loras=f"{folder}/loras", progress=lambda text: None)
def say(lora=""):
    return np.concatenate(list(ours.render("Hello there.", "zero-shot", seed=3, min_len=8, lora=lora)))
print(json.dumps({
    "base": float(np.abs(native() - say()).max()),
    "calm": float(np.abs(native("calm") - say("calm")).max()),
    "calm to base": float(np.abs(say("calm") - say()).max()),
}))
"""


def say(worker: Worker, render_id: int, **options: str) -> bytes:
    pcm, end = worker.render(TEXT, render_id=render_id, **options)
    assert isinstance(end, Done), end
    return pcm


@pytest.mark.parametrize("arch", ["0.5b", "1.5", "2"])
def test_adapters_come_and_go_between_renders_and_leave_the_base_bit_identical(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, arch: str
) -> None:
    with voxcpm_worker(arch) as plain:
        base = say(plain, 1)
    with voxcpm_worker(arch, loras=str(voxcpm_models / arch / "loras")) as worker:
        said = [say(worker, number, lora=name) for number, name in enumerate(["", "calm", "wild", "calm", ""], 1)]
        assert said[0] == said[4] == base
        assert said[1] == said[3]
        assert len({*said}) == 3


def test_a_designed_voice_is_another_one_with_each_adapter_whoever_asked_first(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path
) -> None:
    loras, design = str(voxcpm_models / "2" / "loras"), "calm elderly man with adapters"
    with voxcpm_worker("2", loras=loras) as worker:
        calm, base = say(worker, 1, design=design, lora="calm"), say(worker, 2, design=design)
        assert say(worker, 3, design=design, lora="calm") == calm != base
    with voxcpm_worker("2", loras=loras) as other:
        assert say(other, 1, design=design) == base


def test_renders_are_those_of_the_package_itself_and_so_are_its_adapters(
    voxcpm_python: Path, voxcpm_models: Path, voxcpm_cache: Path
) -> None:
    environ = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "VOICE_SERVER_CACHE": str(voxcpm_cache)}
    command = [voxcpm_python, "-c", NATIVE, voxcpm_models / "2"]
    done = subprocess.run(command, env=environ, check=True, capture_output=True, text=True, timeout=LOAD_S)
    differences = json.loads(done.stdout.splitlines()[-1])
    assert differences["base"] == 0.0
    assert differences["calm"] < 1e-5
    assert differences["calm to base"] > 0.01


def test_an_adapter_dropped_in_while_running_is_found_and_a_wrong_one_refused(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, tmp_path: Path
) -> None:
    loras = tmp_path / "loras"
    shutil.copytree(voxcpm_models / "2" / "loras" / "calm", loras / "calm")
    with voxcpm_worker("2", loras=str(loras)) as worker:
        shutil.copytree(loras / "calm", loras / "late")
        assert say(worker, 1, lora="late") == say(worker, 2, lora="calm")
        shutil.copytree(voxcpm_models / "2" / "loras" / "wild", loras / "large")  # its rank is above the slots'
        for number, name in enumerate(["large", "nobody", "../calm"], 3):
            end = worker.render(TEXT, render_id=number, lora=name)[1]
            assert isinstance(end, Failed)
            assert end.code == "bad_option"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"r": 1}, "shape"), ({"enable_dit": False}, "tensors"), ({"r": None}, "no r and alpha")],
    ids=str,
)
def test_an_adapter_that_is_not_what_it_promises_is_a_load_failure(
    voxcpm_worker: StartVoxcpm, voxcpm_models: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    shutil.copytree(voxcpm_models / "2" / "loras" / "calm", tmp_path / "calm")
    path = tmp_path / "calm" / "lora_config.json"
    content = json.loads(path.read_text())
    content["lora_config"].update(change)
    path.write_text(json.dumps(content))
    with voxcpm_worker("", ready=False) as worker:
        answer = worker.load(ADAPTER, model=str(voxcpm_models / "2"), loras=str(tmp_path))
        assert isinstance(answer, LoadFailed)
        assert words in answer.message
        assert not answer.retryable
