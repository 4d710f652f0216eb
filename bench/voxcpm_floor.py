"""The least time that one step of VoxCPM could take on a device: counted from the widths of its parts, nothing is run.

    uv run python -m bench.voxcpm --floor [--arch 2] [--rows 1 4 16 64 128] [--bandwidth 4.3] [--tflops 780]

A step reads the weights once, however many rows are in it, and the caches of each row; and it multiplies. The floor is
what takes longer. It leaves out attention, norms, what is written, and whatever a program loses between two kernels.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from tests.tiny_voxcpm import ARCHS, Size

_KEY_HEADS = 2
_WINDOW = {"0.5b": 3, "1.5": 3, "2": 1}  # patches that a chunk is decoded from


@dataclass(frozen=True)
class Work:
    """What one step must do."""

    shared_bytes: float  # weights: read once, whoever is in the step
    row_bytes: float  # keys and values of one render
    row_flops: float

    def floor_s(self, rows: int, bandwidth: float, flops: float) -> float:
        return max((self.shared_bytes + rows * self.row_bytes) / bandwidth, rows * self.row_flops / flops)


def work(arch: str, size: Size, timesteps: int = 10, length: int = 400) -> Work:
    """Counted from the widths: a product of a weight and a row is two operations. Attention and norms are left out."""
    bytes_each = 2 if size.dtype == "bfloat16" else 4
    head, patch = size.hidden // size.heads, ARCHS[arch].patch_size
    layers = size.layers + size.residual_layers
    language = layers * _layer(size.hidden, size.intermediate, size.heads, head)
    around = 2 * size.hidden * size.quantiser + size.hidden**2 + 3 * size.hidden * size.local_hidden
    around += 2 * size.hidden**2 if arch == "2" else 0
    local = size.local_layers * _layer(size.local_hidden, size.local_ffn, size.local_heads, head)
    passes = timesteps - 1  # the first timestep does nothing
    tokens = 2 * ((2 if arch == "2" else 0) + 1 + 2 * patch)  # guidance computes all twice
    decoder, decoding = _decoder(arch, size)
    return Work(
        bytes_each * (language + around + local + passes * local) + 4 * decoder,
        bytes_each * 2 * layers * _KEY_HEADS * head * length,
        2 * (language + around + (patch + 1) * local + passes * tokens * local) + decoding,
    )


def _decoder(arch: str, size: Size) -> tuple[float, float]:
    """Weights of the VAE decoder, and its operations for one chunk. Its convolutions but two sorts are depthwise."""
    width, frames = size.decoder_dim, _WINDOW[arch] * ARCHS[arch].patch_size
    weights = size.latent * (7 + width)
    operations = 2 * weights * frames
    for rate in ARCHS[arch].vae["decoder_rates"]:
        widening, units = width * (width // 2) * 2 * rate, 3 * (width // 2) * (width // 2 + 7)
        operations += 2 * frames * (widening + rate * units)
        weights, width, frames = weights + widening + units, width // 2, frames * rate
    return weights, operations


def _layer(hidden: int, intermediate: int, heads: int, head: int) -> int:
    """Weights of one transformer layer."""
    return hidden * head * (2 * heads + 2 * _KEY_HEADS) + 3 * hidden * intermediate


def report(options: argparse.Namespace) -> None:
    step = work(options.arch, ARCHS[options.arch].full)
    shared, row = step.shared_bytes / 1e9, step.row_bytes / 1e6
    print(f"VoxCPM {options.arch}, published size, 10 timesteps, 400 positions; computed, nothing was run")
    print(f"weights {shared:.2f} GB a step; of each row {row:.1f} MB of caches, {step.row_flops / 1e9:.0f} GFLOP")
    for rows in options.rows or (1, 4, 16, 64, 128):
        floor_s = step.floor_s(rows, options.bandwidth * 1e12, options.tflops * 1e12)
        print(f"{rows:>5} rows: floor {floor_s * 1000:.2f} ms")
