"""The engine of the package voxcpm 2.0.3, unmodified, on the thread that loaded it: CUDA graphs are bound to theirs.

Always the streaming path, which can be left between two steps, to be cancelled or to let another render do its step.
What the model would mix up between two open renders lies on their desks. Compiled there is one desk: CUDA graphs have
the addresses of their caches written into them.
"""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generator, Literal, Sequence

from voice_server.backends.voxcpm import checkpoint, standins
from voice_server.backends.voxcpm.desks import Desk, Desks
from voice_server.backends.voxcpm.engine import Features, Order, Prompt, Report, Shape
from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from voice_server.backends.voxcpm.engine import Samples
    from voice_server.backends.voxcpm.loras import LoraShelf

Optimize = Literal["auto"] | bool  # whether to compile; "auto" where it works
Renders = Literal["auto"] | int  # open at once; "auto": one if compiled

_RENDERS = (
    4  # each waits for at most three steps of others: half a second at VoxCPM2's published speed, of 160 ms steps
)


class TorchEngine:
    """`folder` is a checkpoint. Raises BackendError("bad_config") for a wrong one, or wrong options."""

    def __init__(
        self,
        folder: Path,
        device: str,
        optimize: Optimize,
        renders: Renders,
        loras: LoraShelf | None,
        report: Report,
    ) -> None:
        compiling = device == "cuda" and bool(optimize)
        _check_renders(renders, compiling)
        architecture = checkpoint.read_architecture(folder)
        self._has_reference = architecture == "voxcpm2"
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
        compiled = hasattr(self._model, "_feat_encoder_raw")
        if compiling and optimize is True and not compiled:
            raise BackendError("bad_config", "optimize is on, but torch.compile does not work here (no triton?)")
        self.deterministic = device == "cpu"
        self.fingerprint = f"torch-{checkpoint.fingerprint(folder)}"
        self.special_tokens: Sequence[str] = list(tokenizer.all_special_tokens)
        self.shape = self._shape()
        self.capacity = (1 if compiled else _RENDERS) if renders == "auto" else renders
        self._desks = Desks(self._model, device, self.capacity)
        print(f"renders open at once: {self.capacity}, with {self._desks.bytes_each / 1e6:.1f} MB of caches each")

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

    def speak(self, order: Order) -> Generator[Samples, None, None]:
        with self._desks.one() as desk:
            steps = self._steps(order)
            try:
                while (audio := self._step(desk, order.lora, steps)) is not None:
                    yield audio
            finally:
                with desk.seated():  # upstream takes its functions out of the layers
                    steps.close()

    def _step(self, desk: Desk, lora: str, steps: Generator[Samples, None, None]) -> Samples | None:
        with desk.seated():
            if self._loras is not None:
                self._loras.use(lora)
            return next(steps, None)

    def _steps(self, order: Order) -> Generator[Samples, None, None]:
        import torch

        torch.manual_seed(order.seed)  # of the CPU and of every GPU
        steps = self._model.generate_with_prompt_cache_streaming(
            order.text,
            None if order.prompt is None else self._cache(order.prompt),
            min_len=order.min_steps,
            max_len=order.max_steps,
            inference_timesteps=order.timesteps,
            cfg_value=order.cfg_value,
            retry_badcase_ratio_threshold=order.max_steps,  # the cap is ours
        )
        with closing(steps):
            for audio, _, _ in steps:
                yield audio.reshape(-1).float().numpy()

    def _cache(self, prompt: Prompt) -> dict[str, Any]:
        import torch

        continuation = torch.from_numpy(prompt.features.continuation)
        if not self._has_reference:
            return {"prompt_text": prompt.transcript, "audio_feat": continuation}
        reference = {"mode": "reference", "ref_audio_feat": torch.from_numpy(prompt.features.reference)}
        if not prompt.transcript:
            return reference
        more = {"mode": "ref_continuation", "prompt_text": prompt.transcript, "audio_feat": continuation}
        return {**reference, **more}

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


def _check_renders(renders: Renders, compiling: bool) -> None:
    if renders != "auto" and (isinstance(renders, bool) or not isinstance(renders, int) or renders < 1):
        raise BackendError("bad_config", f"renders is auto or a number from 1, not {renders!r}")
    if compiling and renders not in ("auto", 1):
        message = f"a compiled model holds one render open, not {renders}: leave out the option `renders`"
        raise BackendError("bad_config", f"{message}, or set `optimize: false`")


def _prepare_imports(device: str) -> None:
    os.environ.setdefault("TQDM_DISABLE", "1")  # a progress bar per render
    standins.install()
    import torch

    if device == "cpu":
        # A second thread makes it no faster, and on a busy machine stalled single renders for 40 s.
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
