"""What this machine has for us: its NVIDIA GPUs, and file descriptors.

Promises: never fails, and never touches CUDA itself, which would cost the gateway
500 MiB of GPU memory: NVML only reads.
"""

from __future__ import annotations

import importlib
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voice_server.core.settings import Gpu

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class GpuReport:
    gpus: tuple[Gpu, ...]
    reason: str  # why there is none, for a person; "" when there are some


def see_gpus(environ: Mapping[str, str]) -> GpuReport:
    """The GPUs that a worker started with `environ` could use: CUDA_VISIBLE_DEVICES hides the others."""
    try:
        nvml: Any = importlib.import_module("pynvml")  # here, because a gateway without GPUs need not have it
    except ImportError:
        return GpuReport((), "the package nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return GpuReport((), f"no NVIDIA driver answers ({error})")
    try:
        return _visible(_all(nvml), environ.get("CUDA_VISIBLE_DEVICES"))
    except nvml.NVMLError as error:
        return GpuReport((), f"the NVIDIA driver fails ({error})")
    finally:
        nvml.nvmlShutdown()


def _all(nvml: Any) -> dict[str, Gpu]:
    """Every GPU by its UUID."""
    handles = [(index, nvml.nvmlDeviceGetHandleByIndex(index)) for index in range(nvml.nvmlDeviceGetCount())]
    return {_text(nvml.nvmlDeviceGetUUID(handle)): _gpu(nvml, index, handle) for index, handle in handles}


def _gpu(nvml: Any, index: int, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = _text(nvml.nvmlDeviceGetName(handle))
    return Gpu(index=index, name=name, total_gib=memory.total / _GIB, free_gib=memory.free / _GIB)


def _visible(gpus: Mapping[str, Gpu], wanted: str | None) -> GpuReport:
    seen = tuple(gpus.values()) if wanted is None else visible_gpus(gpus, wanted)
    if seen or not gpus:
        return GpuReport(seen, "" if seen else "the NVIDIA driver sees no GPU")
    return GpuReport((), f"CUDA_VISIBLE_DEVICES={wanted!r} hides all {len(gpus)} of them")


def visible_gpus(gpus: Mapping[str, Gpu], wanted: str) -> tuple[Gpu, ...]:
    """The GPUs a CUDA_VISIBLE_DEVICES names, by number or by the start of a UUID, in its order.

    As CUDA does it: the first entry that names no GPU hides itself and all after it.
    """
    seen: list[Gpu] = []
    for entry in wanted.split(","):
        gpu = _named(gpus, entry.strip())
        if gpu is None:
            break
        seen.append(gpu)
    return tuple(seen)


def _named(gpus: Mapping[str, Gpu], entry: str) -> Gpu | None:
    matches = [
        gpu for uuid, gpu in gpus.items() if entry == str(gpu.index) or (entry[:4] == "GPU-" and uuid.startswith(entry))
    ]
    return matches[0] if len(matches) == 1 else None


def _text(value: str | bytes) -> str:
    """Older drivers' bindings answer in bytes."""
    return value.decode() if isinstance(value, bytes) else value


def descriptors(wanted: int) -> int:
    """How many file descriptors this process may have: up to `wanted`, if the machine allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else soft
