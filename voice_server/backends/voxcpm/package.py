"""What both engines of the package voxcpm 2.0.3 share: the loaded and verified model, its words and its samples.

The package is unmodified. Everything happens on the thread that loaded it: CUDA graphs are bound to theirs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from voice_server.backends.voxcpm import checkpoint, standins
from voice_server.backends.voxcpm.engine import Features, Order, Report, Shape
from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from voice_server.backends.voxcpm.engine import Samples, Speech
    from voice_server.backends.voxcpm.loras import LoraShelf


class Package:
    """The model of a checkpoint. Raises BackendError("bad_config") for a wrong one."""

    def __init__(self, folder: Path, device: str, compiling: bool, loras: LoraShelf | None, report: Report) -> None:
        self._has_reference = checkpoint.read_architecture(folder) == "voxcpm2"
        self._loras = loras
        report("importing torch and voxcpm")
        _prepare_imports(device)
        report("reading weights")
        stored = checkpoint.stored_weights(folder)
        self._model = self._load(folder, device, compiling)
        report("verifying weights")
        checkpoint.verify_weights(folder, stored, self._model.state_dict())
        tokenizer = self._model.text_tokenizer.tokenizer
        checkpoint.verify_tokenizer(tokenizer, self._model.config.lm_config.vocab_size)
        if loras is not None:
            loras.attach(dict(self._model.named_parameters()))
        self.fingerprint = f"torch-{checkpoint.fingerprint(folder)}"
        self.special_tokens: Sequence[str] = list(tokenizer.all_special_tokens)
        self.shape = self._shape()

    def count_tokens(self, text: str) -> int:
        return len(self._model.text_tokenizer(text))

    def normalize(self, text: str) -> str:
        try:
            from voxcpm.utils.text_normalize import TextNormalizer
        except ImportError as error:
            raise BackendError("bad_option", f"normalize needs the package {error.name}, which is not here") from error
        if not hasattr(self, "_normalizer"):
            self._normalizer = TextNormalizer()
        return str(self._normalizer.normalize(text))

    def encode(self, sample: Path) -> Features:
        path = str(sample)
        if self._has_reference:
            cache = self._model.build_prompt_cache(prompt_text="", prompt_wav_path=path, reference_wav_path=path)
            return Features(cache["ref_audio_feat"].float().numpy(), cache["audio_feat"].float().numpy())
        cache = self._model.build_prompt_cache("any text: it is not looked at", path)
        return Features(None, cache["audio_feat"].float().numpy())

    def check(self, order: Order) -> None:
        if order.lora and self._loras is None:
            raise BackendError("bad_option", "this backend has no LoRA adapters: its option `loras` names their folder")

    def seat(self, speech: Speech) -> Iterator[Samples]:
        return speech

    def step(self, renders: Sequence[Any]) -> Sequence[Any]:
        return renders[:1]  # one at a time

    def _load(self, folder: Path, device: str, optimize: bool) -> Any:
        from voxcpm import VoxCPM

        lora_config = self._loras and self._lora_config(self._loras)
        try:
            pipeline = VoxCPM.from_pretrained(
                str(folder), load_denoiser=False, optimize=optimize, device=device, lora_config=lora_config
            )
        except RuntimeError as error:
            if "state_dict" not in str(error):
                raise
            raise BackendError("bad_config", f"the weights in {folder} have other shapes than config.json") from error
        return pipeline.tts_model

    def _lora_config(self, loras: LoraShelf) -> Any:
        if self._has_reference:
            from voxcpm.model.voxcpm2 import LoRAConfig
        else:
            from voxcpm.model.voxcpm import LoRAConfig
        return LoRAConfig(**loras.slots(self._has_reference))

    def _shape(self) -> Shape:
        model = self._model
        rate = int(model.sample_rate)
        hop = getattr(model, "_decode_chunk_size", model.chunk_size)  # chunk_size is the encoder's, of another rate
        return Shape(rate, model.patch_size * hop / rate, int(model.config.max_length), self._has_reference)


def _prepare_imports(device: str) -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")  # a progress bar per render
    standins.install()
    import torch

    if device == "cpu":
        # A second thread makes it no faster, and on a busy machine stalled single renders for 40 s.
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
