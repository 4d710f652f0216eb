"""Stands in for nano-vllm-voxcpm 2.0.5, which needs CUDA: the same names and signatures, and noise for speech.

Copied as nanovllm_voxcpm.py to where a worker finds it. What the adapter did is noted in the file `log` beside it.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np

RATE, PATCH, FEATURES, HOP = 48000, 4, 16, 1920
LOG = Path(__file__).parent / "log"


def note(**event):
    with LOG.open("a") as file:
        file.write(json.dumps(event) + "\n")


class VoxCPM:
    @staticmethod
    def from_pretrained(
        model,
        inference_timesteps=10,
        max_num_batched_tokens=16384,
        max_num_seqs=512,
        max_model_len=4096,
        gpu_memory_utilization=0.9,
        enforce_eager=False,
        devices=(),
        lora_config=None,
        **kwargs,
    ):
        asyncio.get_running_loop()  # without a running loop the real one gives its synchronous pool
        assert not kwargs and list(devices) == [0] and inference_timesteps == 10
        return AsyncVoxCPM2ServerPool()


class AsyncVoxCPM2ServerPool:
    async def wait_for_ready(self):
        note(event="ready")

    async def get_model_info(self):
        return {
            "sample_rate": 16000,
            "encoder_sample_rate": 16000,
            "output_sample_rate": RATE,
            "channels": 1,
            "feat_dim": FEATURES,
            "patch_size": PATCH,
            "model_path": "",
        }

    async def encode_latents(self, wav: bytes, wav_format: str):
        note(event="encode", format=wav_format)
        return np.zeros((PATCH * 5, FEATURES), np.float32).tobytes()

    async def generate(
        self,
        target_text,
        prompt_latents=None,
        prompt_text="",
        prompt_id=None,
        max_generate_length=2000,
        temperature=1.0,
        cfg_value=2.0,
        ref_audio_latents=None,
        lora_name=None,
        seed=None,
    ):
        assert (prompt_latents is None) == (not prompt_text)
        note(event="begin", text=target_text, prompt=prompt_text, reference=len(ref_audio_latents or b""), seed=seed)
        noise, steps = np.random.default_rng(seed), min(len(target_text), max_generate_length)
        done = False
        try:
            for _ in range(steps):
                await asyncio.sleep(0)
                yield noise.standard_normal(PATCH * HOP).astype(np.float32) * 0.1
            done = True
        finally:
            note(event="end" if done else "cancel", text=target_text)
