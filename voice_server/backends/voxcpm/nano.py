"""The engine of nano-vllm-voxcpm 2.0.5: many renders at once, batched on one GPU by a process of its own.

Its package needs CUDA, triton and flash-attn. It fixes the number of diffusion steps when it starts and has no shortest
length, so those options are refused here rather than ignored. Its synchronous interface leaves a render that is closed
running on the GPU; so its asynchronous one is driven, one chunk at a time, on a loop of our own.
"""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, AsyncGenerator, Coroutine, Generator, Iterator, Sequence, TypeVar

import numpy as np

from voice_server.backends.voxcpm import checkpoint
from voice_server.backends.voxcpm.engine import Features, Order, Prompt, Report, Shape
from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    from pathlib import Path

    from voice_server.backends.voxcpm.engine import Patches, Samples, Speech

_Result = TypeVar("_Result")

_RENDERS = 16  # open at once; published: with 16, each is still 4 times faster than real time on an RTX 4090
_TIMESTEPS = 10
_MIN_STEPS = 2  # written into its code
_MAX_LENGTH = 4096


class NanoEngine:
    """`folder` is a checkpoint with safetensors. Raises BackendError("bad_config") where the package is not usable."""

    capacity = _RENDERS
    deterministic = False  # what a batch holds beside it changes a render's last bits

    def __init__(self, folder: Path, device: str, report: Report) -> None:
        if device != "cuda":
            raise BackendError("bad_config", "engine nano needs a CUDA GPU; engine torch runs without")
        architecture = checkpoint.read_architecture(folder)
        report("importing nano-vllm-voxcpm")
        package = _import()
        report("starting nano-vllm-voxcpm")
        self._loop = asyncio.new_event_loop()
        self._pool = self._run(_start(package, folder))
        info = self._run(self._pool.get_model_info())
        self._patch = (-1, int(info["patch_size"]), int(info["feat_dim"]))
        self._tokenizer = _tokenizer(folder)
        self.fingerprint = f"nano-{checkpoint.fingerprint(folder)}"
        self.special_tokens: Sequence[str] = list(self._tokenizer.all_special_tokens)
        self.shape = _shape(folder, info, has_reference=architecture == "voxcpm2")

    def count_tokens(self, text: str) -> int:
        """An upper bound: its own tokenizer splits Chinese words into characters, which are counted apart here."""
        return len(self._tokenizer.tokenize(text)) + sum("\u4e00" <= character <= "\u9fff" for character in text)

    def normalize(self, text: str) -> str:
        raise BackendError("bad_option", "engine nano cannot normalize")

    def encode(self, sample: Path) -> Features:
        latents = self._run(self._pool.encode_latents(sample.read_bytes(), sample.suffix.lstrip(".") or "wav"))
        patches = np.frombuffer(latents, np.float32).reshape(self._patch)
        return Features(patches if self.shape.has_reference else None, patches)

    def check(self, order: Order) -> None:
        if order.timesteps != _TIMESTEPS:
            raise BackendError("bad_option", f"inference_timesteps is {_TIMESTEPS} with engine nano")
        if order.min_steps != _MIN_STEPS:
            raise BackendError("bad_option", f"min_len is {_MIN_STEPS} with engine nano")
        if order.lora:
            raise BackendError("bad_option", "engine nano is run without LoRA adapters")

    def speak(self, order: Order) -> Generator[Samples, None, None]:
        stream: AsyncGenerator[Samples, None] = self._pool.generate(
            order.text,
            max_generate_length=order.max_steps,
            cfg_value=order.cfg_value,
            seed=order.seed,
            **self._voice(order.prompt),
        )
        try:
            with suppress(StopAsyncIteration):
                while True:
                    yield np.asarray(self._run(_next(stream)), np.float32).reshape(-1)
        finally:
            self._run(stream.aclose())  # tells its process to let go of the render

    def seat(self, speech: Speech) -> Iterator[Samples]:
        return speech

    def step(self, renders: Sequence[Any]) -> Sequence[Any]:
        return renders[:1]  # its own process batches them

    def _voice(self, prompt: Prompt | None) -> dict[str, Any]:
        if prompt is None:
            return {}
        voice: dict[str, Any] = {}
        if prompt.transcript:
            voice = {"prompt_latents": _bytes(prompt.features.continuation), "prompt_text": prompt.transcript}
        if prompt.features.reference is not None:
            voice["ref_audio_latents"] = _bytes(prompt.features.reference)
        return voice

    def _run(self, what: Coroutine[Any, Any, _Result]) -> _Result:
        return self._loop.run_until_complete(what)


def _import() -> Any:
    try:
        from nanovllm_voxcpm import VoxCPM
    except ImportError as error:
        raise BackendError("bad_config", f"engine nano cannot be imported: {error}. engine torch needs less") from error
    return VoxCPM


async def _start(package: Any, folder: Path) -> Any:
    pool = package.from_pretrained(
        str(folder),
        inference_timesteps=_TIMESTEPS,
        max_num_seqs=_RENDERS,
        max_model_len=_MAX_LENGTH,
        devices=[0],  # the only one that this process sees
    )
    await pool.wait_for_ready()
    return pool


async def _next(stream: AsyncGenerator[Samples, None]) -> Samples:
    return await stream.__anext__()


def _tokenizer(folder: Path) -> Any:
    from transformers import LlamaTokenizerFast

    tokenizer = LlamaTokenizerFast.from_pretrained(folder)
    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["lm_config"]["vocab_size"]
    checkpoint.verify_tokenizer(tokenizer, vocabulary)
    return tokenizer


def _shape(folder: Path, info: dict[str, Any], has_reference: bool) -> Shape:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rate = int(info.get("output_sample_rate", info["sample_rate"]))  # sample_rate is what VoxCPM2's encoder hears
    hop = math.prod(config["audio_vae_config"]["decoder_rates"])
    return Shape(rate, int(info["patch_size"]) * hop / rate, _MAX_LENGTH, has_reference)


def _bytes(patches: Patches) -> bytes:
    return np.ascontiguousarray(patches, np.float32).tobytes()
