from __future__ import annotations

import os

import pytest

from voice_server.core.settings import Gpu
from voice_server.machine import see_gpus, visible_gpus

GPUS = {f"GPU-{letter}111": Gpu(index, "H200", 139, 130) for index, letter in enumerate("abc")}


@pytest.mark.parametrize(
    "wanted, indices",
    [
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("GPU-b111", [1]),
        ("GPU-c,0", [2, 0]),
        ("", []),
        ("-1", []),
        ("0,-1,1", [0]),
        ("7", []),
        ("GPU-", []),
        ("nonsense", []),
    ],
)
def test_cuda_visible_devices_is_read_as_cuda_reads_it(wanted, indices):
    assert [gpu.index for gpu in visible_gpus(GPUS, wanted)] == indices


def test_hidden_gpus_are_not_seen_and_the_reason_is_given():
    report = see_gpus({**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert report.gpus == () and report.reason
