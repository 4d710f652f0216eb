"""What a backend is, as values: the shape of backends.yaml once it is read, and the choice of one backend.

The dataclasses are the schema: a field's name is its key in the file, its type and `Meta` are what the file may say.
Knows nothing of YAML, files, GPUs' drivers or what an engine is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from voice_server.core.errors import BackendUnavailable, UnknownBackend
from voice_server.core.limits import ConfigLimits, WorkerLimits
from voice_server.core.options import OptionSpec
from voice_server.wire.messages import TTS

_LIMITS = ConfigLimits()
_WORKER_LIMITS = WorkerLimits()
AUTO = "auto"

Count = Annotated[int, Meta(ge=1, le=_LIMITS.workers)]
Spares = Annotated[int, Meta(ge=0, le=_LIMITS.workers)]
GpuIndex = Annotated[int, Meta(ge=0)]
Gibibytes = Annotated[float, Meta(gt=0, le=_LIMITS.gpu_gib)]
Mebibytes = Annotated[int, Meta(ge=0, le=_LIMITS.cache_mib)]
Pause = Annotated[float, Meta(ge=0, le=_LIMITS.pause_s)]
Share = Annotated[float, Meta(ge=0, le=_LIMITS.resource)]


@dataclass(frozen=True, slots=True)
class VenvSpec:
    """The environment of a backend: built from `requirements`, or the existing one at `path`."""

    python: str = ">=3.9"  # a version, a range, or the path of an interpreter
    requirements: tuple[str, ...] = ()
    no_deps: tuple[str, ...] = ()  # installed last and alone: packages that declare more than they need
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a machine must have before `auto` picks this backend."""

    cuda_gib: Gibibytes | None = None  # free memory of one GPU


@dataclass(frozen=True, slots=True)
class Resources:
    """What one worker takes of a node of the cluster."""

    cpus: Share = 1.0
    gpus: Share | None = None  # None: one, where `devices` is not cpu
    memory_gib: Share = 0.0  # 0: what it takes is not counted
    custom: dict[str, Share] = field(default_factory=dict)  # as the operator named it at `ray start --resources`
    nodes: Literal["spread", "pack"] = "spread"  # over as many as there are, or as few as will do


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of the number of workers, where it follows what is asked of them."""

    min: Count
    max: Count


@dataclass(frozen=True, slots=True)
class BackendConfig:
    name: str
    adapter: str  # "module:Class", "module", "/path/file.py:Class" or "/path/file.py"
    kind: Literal["tts", "stt"] = "tts"  # it speaks, or it listens
    venv: VenvSpec = VenvSpec()
    devices: Literal["cpu", "auto"] | Annotated[tuple[GpuIndex, ...], Meta(min_length=1)] = "cpu"
    workers: Count | Bounds = 1
    spares: Spares = 0  # loaded workers beside them, for the place of one that is lost
    roll: Literal["replace-first", "stop-first"] = (
        "replace-first"  # a restart: where a device cannot hold two, stop first
    )
    options: dict[str, Any] = field(default_factory=dict)  # keyword arguments of the adapter
    shared_gpu_options: dict[str, Any] = field(default_factory=dict)  # go before `options` where workers share a GPU
    opts: dict[str, OptionSpec] = field(default_factory=dict)  # what a client may set
    aliases: dict[str, str] = field(default_factory=dict)  # a name a client may say: the voice it gets
    voice: str = ""  # the default voice; "" is the adapter's first
    languages: tuple[str, ...] = ("en",)  # of its voices, as in de or en-GB: some clients offer voices by language
    licence: str = ""  # of engine and weights, for people: what GET /backends tells
    tags: tuple[str, ...] = ()  # that the engine understands in a text: laugh stands for [laugh]
    blends: bool = False  # a voice may be a blend of its own, as in a(2)+b(1)
    streams: bool = False  # audio comes while the sentence is rendered, not when it is whole
    needs: Needs = Needs()
    placement: Literal["auto", "local", "ray"] = "auto"  # auto: on the cluster where one was named, else here
    resources: Resources = Resources()  # of a worker on the cluster
    warmup_text: str = "Ready."  # rendered once while loading; "" skips the warm-up
    scheduling: Literal["deadline", "fifo"] = "deadline"  # fifo, first come first served, is there to compare with
    eager_clause: bool = False  # an answer's first sentence may be cut at a comma, to be heard sooner
    cache_mib: Mebibytes = 0  # of memory for sentences that are said again; deterministic engines only
    trim_silence: bool = False  # before and after each sentence, as far as the engine adds any
    pause_s: Pause = 0.12  # between two sentences, in place of the silence that was trimmed
    guard: bool = True  # refuse silence, clipping and what is too short; off where an engine means it
    env: dict[str, str] = field(default_factory=dict)  # of the worker process
    limits: WorkerLimits = _WORKER_LIMITS

    def bounds(self, pool_size: int) -> Bounds | None:
        """None where the number is fixed: by a plain one, or by an operator who asks for so many (0: as configured)."""
        return self.workers if isinstance(self.workers, Bounds) and not pool_size else None

    @property
    def most_workers(self) -> int:
        return self.workers.max if isinstance(self.workers, Bounds) else self.workers


@dataclass(frozen=True, slots=True)
class Config:
    path: Path  # the file it was read from
    default: str  # the name of a backend, or "auto"
    backends: dict[str, BackendConfig]  # in the order of the file: `auto` takes the first that fits


@dataclass(frozen=True, slots=True)
class Gpu:
    index: int  # as the driver counts, by PCI bus: a worker needs CUDA_DEVICE_ORDER=PCI_BUS_ID to count the same way
    name: str
    total_gib: float
    free_gib: float


def pick_backend(config: Config, name: str, gpus: Sequence[Gpu]) -> tuple[BackendConfig, str]:
    """The backend called `name` ("" is the configured default), and in one sentence why this one.

    "auto" is the first backend that speaks and whose needs are met by `gpus`. Raises UnknownBackend or
    BackendUnavailable.
    """
    wanted = name or config.default
    if wanted == AUTO:
        return _first_that_fits(config, gpus)
    if wanted not in config.backends:
        known = ", ".join([AUTO, *config.backends])
        raise UnknownBackend(f"there is no backend {wanted[: _LIMITS.name_chars]!r}; known are {known}")
    return config.backends[wanted], "It was asked for." if name else "It is the default of the configuration."


def _first_that_fits(config: Config, gpus: Sequence[Gpu]) -> tuple[BackendConfig, str]:
    passed_over: list[str] = []
    for backend in config.backends.values():
        if backend.kind != TTS:
            continue
        lack = _lack(backend, gpus)
        if lack is None:
            return backend, _why(backend, passed_over)
        passed_over.append(f"{backend.name} {lack}")
    raise BackendUnavailable("no backend fits this machine: " + "; ".join(passed_over))


def _lack(backend: BackendConfig, gpus: Sequence[Gpu]) -> str | None:
    """What this machine lacks for the backend, or None."""
    needed = backend.needs.cuda_gib
    if needed is None:
        return None
    usable = [gpu for gpu in gpus if not isinstance(backend.devices, tuple) or gpu.index in backend.devices]
    most = max((gpu.free_gib for gpu in usable), default=0.0)
    if most >= needed:
        return None
    return f"needs {needed:g} GiB of free GPU memory, and " + (
        f"{most:.1f} GiB is the most" if usable else "no GPU is seen"
    )


def _why(backend: BackendConfig, passed_over: list[str]) -> str:
    fits = "needs no GPU" if backend.needs.cuda_gib is None else "finds the GPU memory it needs"
    because = f" ({'; '.join(passed_over)})" if passed_over else ""
    return f"It is the first backend that fits this machine: it {fits}{because}."
