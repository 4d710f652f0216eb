"""Which worker gets which device: one GPU after the other, around again when there are more workers than GPUs. On a
cluster that is for its nodes to say: here it is only known what a worker takes of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voice_server.core.errors import BackendUnavailable
from voice_server.core.settings import BackendConfig, Gpu


@dataclass(frozen=True, slots=True)
class Placement:
    device: str  # "cpu" or "cuda"
    cuda_visible_devices: str  # a worker sees its own GPU only, and calls it plain "cuda"

    @property
    def name(self) -> str:
        """Of the device, as people count: "cpu" or "cuda:1"."""
        return f"{self.device}:{self.cuda_visible_devices}" if self.cuda_visible_devices else self.device


def place(backend: BackendConfig, workers: int, gpus: Sequence[Gpu]) -> list[Placement]:
    """The places of `workers` workers; 0 is as many as the backend says, or one per GPU when that is more. Where their
    number is elastic, those of all that there may be."""
    indexes = _indexes(backend, gpus)
    count = workers or (backend.most_workers if backend.bounds(0) else max(backend.most_workers, len(indexes)))
    if not indexes:
        return [Placement("cpu", "")] * count
    return [Placement("cuda", str(indexes[number % len(indexes)])) for number in range(count)]


def place_spares(places: Sequence[Placement], count: int) -> list[Placement]:
    """The places of `count` spares beside these workers: each on the device that has the fewest spares by then."""
    devices = list(dict.fromkeys(places))
    return [devices[number % len(devices)] for number in range(count)]


def shares_gpu(places: Sequence[Placement]) -> bool:
    """Whether two of these workers use the same GPU."""
    gpus = [place.cuda_visible_devices for place in places if place.device == "cuda"]
    return len(set(gpus)) < len(gpus)


def is_far(backend: BackendConfig, *, has_cluster: bool) -> bool:
    """Whether its workers live on the cluster. Raises BackendUnavailable where they should and there is none."""
    if backend.placement == "ray" and not has_cluster:
        raise BackendUnavailable(
            f"the backend {backend.name} is placed on a Ray cluster: say which, as in --cluster HOST:6379"
        )
    return has_cluster and backend.placement != "local"


def far_gpus(backend: BackendConfig) -> float:
    """How much of a node's GPUs one worker takes; below 1 it shares one with others."""
    if backend.resources.gpus is None:
        return 0.0 if backend.devices == "cpu" else 1.0
    return backend.resources.gpus


def _indexes(backend: BackendConfig, gpus: Sequence[Gpu]) -> list[int]:
    if backend.devices == "cpu":
        return []
    if backend.devices == "auto":
        return [gpu.index for gpu in gpus]
    return list(backend.devices)
