from __future__ import annotations

from pathlib import Path

import pytest

from voice_server.core.errors import BackendUnavailable, UnknownBackend
from voice_server.core.settings import BackendConfig, Config, Gpu, Needs, pick_backend


def backend(name: str, gib: float | None = None, **changes) -> BackendConfig:
    return BackendConfig(name=name, adapter="m", needs=Needs(gib), devices="auto" if gib else "cpu", **changes)


def config(*backends: BackendConfig, default: str = "auto") -> Config:
    return Config(Path("backends.yaml"), default, {item.name: item for item in backends})


BIG = backend("big", gib=8)
SMALL = backend("small")
BOTH = config(BIG, SMALL)


def gpu(index: int = 0, free_gib: float = 10) -> Gpu:
    return Gpu(index, "H200", 139, free_gib)


def test_auto_takes_the_first_backend_that_fits():
    assert pick_backend(BOTH, "auto", [gpu()])[0] is BIG


def test_auto_passes_over_a_backend_without_its_gpu_and_says_so():
    picked, reason = pick_backend(BOTH, "auto", [])
    assert picked is SMALL and "big needs 8 GiB" in reason and "no GPU is seen" in reason


def test_auto_counts_free_memory_not_total():
    picked, reason = pick_backend(BOTH, "auto", [gpu(free_gib=7.9)])
    assert picked is SMALL and "7.9 GiB" in reason


def test_auto_looks_at_the_backend_s_own_gpus_only():
    pinned = config(BackendConfig(name="big", adapter="m", needs=Needs(8), devices=(1,)), SMALL)
    assert pick_backend(pinned, "auto", [gpu(0), gpu(1, free_gib=1)])[0] is SMALL


def test_auto_without_any_fit_says_what_each_lacks():
    with pytest.raises(BackendUnavailable, match="big needs 8 GiB"):
        pick_backend(config(BIG), "auto", [])


def test_auto_passes_over_what_listens():
    assert pick_backend(config(backend("ears", kind="stt"), SMALL), "auto", [])[0] is SMALL


def test_no_name_is_the_configured_default():
    assert pick_backend(config(BIG, SMALL, default="small"), "", [gpu()])[0] is SMALL


def test_a_name_goes_before_the_default_and_before_needs():
    assert pick_backend(config(BIG, SMALL, default="small"), "big", [])[0] is BIG


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(UnknownBackend, match="auto, big, small"):
        pick_backend(BOTH, "huge", [])
