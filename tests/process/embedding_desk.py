"""What the tests of the Python API share: a backends.yaml with a slow, a broken, an odd and a listening engine."""

from __future__ import annotations

from pathlib import Path

# Its audio is a constant whose level the LoRA adapter decides; "bad" texts fail for good.
_ODD = """
import numpy as np

class Odd:
    sample_rate = 16000

    def __init__(self, device, loras=""):
        pass

    def voices(self):
        return ["plain"]

    def render(self, text, voice, lora=""):
        if "bad" in text:
            raise ValueError("I do not say that")
        yield np.full(1600, {"": 0.125, "calm": 0.25}[lora], np.float32)
"""
_CONFIG = """
backends:
  slow:
    adapter: voice_server.backends.tone:ToneBackend
    venv: {{requirements: []}}
    options: {{speed_rtf: 1.0}}
    warmup_text: ""
  broken:
    adapter: voice_server.backends.tone:ToneBackend
    venv: {{requirements: []}}
    options: {{load_fault: config}}
  odd:
    adapter: {folder}/odd.py:Odd
    venv: {{requirements: []}}
    guard: false
    options: {{loras: {folder}/loras}}
    opts: {{lora: {{type: str, max: 64}}}}
  pitch:
    kind: stt
    adapter: voice_server.backends.pitch:PitchRecogniser
    venv: {{requirements: []}}
"""


def write_config(folder: Path) -> Path:
    """The path of the configuration; the backend `odd` has a LoRA adapter `calm`."""
    (folder / "odd.py").write_text(_ODD)
    calm = folder / "loras" / "calm"
    calm.mkdir(parents=True)
    (calm / "lora_config.json").write_text("{}")
    (calm / "lora_weights.safetensors").write_bytes(b"")
    path = folder / "backends.yaml"
    path.write_text(_CONFIG.format(folder=folder))
    return path
