from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from voice_server.core.errors import BackendUnavailable
from voice_server.core.placement import Placement, far_gpus, is_far, place, place_spares
from voice_server.core.settings import BackendConfig, Gpu, Resources

GPUS = [Gpu(index, "H200", 139.0, 130.0) for index in (0, 1, 2)]


def backend(devices: Literal["cpu", "auto"] | tuple[int, ...], workers: int = 1) -> BackendConfig:
    return BackendConfig("x", "x:X", devices=devices, workers=workers)


def places(*gpus: int) -> list[Placement]:
    return [Placement("cuda", str(index)) for index in gpus]


def test_a_cpu_backend_sees_no_gpu() -> None:
    assert place(backend("cpu", workers=2), 0, GPUS) == [Placement("cpu", "")] * 2


def test_auto_on_a_machine_without_gpus_is_the_cpu() -> None:
    assert place(backend("auto", workers=2), 0, []) == [Placement("cpu", "")] * 2


def test_auto_puts_a_worker_on_every_gpu() -> None:
    assert place(backend("auto"), 0, GPUS) == places(0, 1, 2)


def test_auto_goes_by_the_drivers_numbers() -> None:
    assert place(backend("auto"), 0, [GPUS[2]]) == places(2)


def test_named_gpus_are_used_in_the_order_they_are_named() -> None:
    assert place(backend((2, 0)), 0, GPUS) == places(2, 0)


def test_more_workers_than_gpus_go_around_again() -> None:
    assert place(backend("auto", workers=5), 0, GPUS) == places(0, 1, 2, 0, 1)


@pytest.mark.parametrize(("wanted", "expected"), [(1, places(0)), (2, places(0, 1)), (4, places(0, 1, 2, 0))])
def test_a_wanted_pool_size_goes_before_the_configured_one(wanted: int, expected: list[Placement]) -> None:
    assert place(backend("auto", workers=3), wanted, GPUS) == expected


def test_spares_sit_on_the_devices_of_the_workers_and_as_many_on_each() -> None:
    assert place_spares(places(0, 2, 0), 3) == places(0, 2, 0)
    assert place_spares(places(1), 2) == places(1, 1)


def test_spares_of_workers_on_the_cpu_are_there_too() -> None:
    assert place_spares([Placement("cpu", "")] * 2, 1) == [Placement("cpu", "")]


@pytest.mark.parametrize(
    ("placement", "has_cluster", "expected"),
    [
        ("auto", False, False),
        ("auto", True, True),
        ("local", False, False),
        ("local", True, False),
        ("ray", True, True),
    ],
)
def test_workers_live_on_the_cluster_where_one_was_named_unless_they_are_to_stay(
    placement: Literal["auto", "local", "ray"], has_cluster: bool, expected: bool
) -> None:
    assert is_far(replace(backend("cpu"), placement=placement), has_cluster=has_cluster) is expected


def test_a_backend_for_a_cluster_that_nobody_named_says_so() -> None:
    with pytest.raises(BackendUnavailable, match="--cluster"):
        is_far(replace(backend("cpu"), placement="ray"), has_cluster=False)


@pytest.mark.parametrize(
    ("devices", "gpus", "expected"), [("cpu", None, 0.0), ("auto", None, 1.0), ("auto", 0.5, 0.5), ("cpu", 2.0, 2.0)]
)
def test_a_far_worker_takes_one_gpu_unless_it_needs_none_or_says_otherwise(
    devices: Any, gpus: float | None, expected: float
) -> None:
    assert far_gpus(replace(backend(devices), resources=Resources(gpus=gpus))) == expected
