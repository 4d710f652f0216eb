from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace

import pytest

from voice_server.core.settings import Gpu
from voice_server.machine import GpuReport, see_gpus, visible_gpus

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


class Driver(ModuleType):
    """What the module pynvml is to us, of a machine with these GPUs: the real one needs a driver to say anything."""

    class NVMLError(Exception):
        """As the real one calls it."""

    def __init__(self, gpus: Sequence[str], *, lacks: str = "", speaks: Callable[[str], str | bytes] = str) -> None:
        super().__init__("pynvml")
        self.is_open = False
        self._gpus = gpus
        self._lacks = lacks  # the call that fails
        self._speaks = speaks

    def _called(self, name: str) -> None:
        if name == self._lacks:
            raise self.NVMLError("no answer")

    def nvmlInit(self) -> None:
        self._called("nvmlInit")
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:
        return len(self._gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str | bytes:
        return self._speaks(f"GPU-{handle}")

    def nvmlDeviceGetName(self, handle: int) -> str | bytes:
        return self._speaks(self._gpus[handle])

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:
        self._called("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(total=24 * 2**30, free=20 * 2**30)


def seen(driver: Driver, monkeypatch: pytest.MonkeyPatch, **environ: str) -> GpuReport:
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    report = see_gpus(environ)
    assert not driver.is_open
    return report


@pytest.mark.parametrize("speaks", [str, str.encode], ids=["text", "bytes of older drivers"])
def test_what_the_driver_says_is_told(speaks: Callable[[str], str | bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    report = seen(Driver(["RTX 4090", "H200"], speaks=speaks), monkeypatch)
    assert report == GpuReport((Gpu(0, "RTX 4090", 24.0, 20.0), Gpu(1, "H200", 24.0, 20.0)), "")


def test_hidden_gpus_are_not_told_and_the_reason_is(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(["RTX 4090", "H200"])
    assert [gpu.name for gpu in seen(driver, monkeypatch, CUDA_VISIBLE_DEVICES="1").gpus] == ["H200"]
    assert seen(driver, monkeypatch, CUDA_VISIBLE_DEVICES="").reason == "CUDA_VISIBLE_DEVICES='' hides all 2 of them"


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver([]), "the NVIDIA driver sees no GPU"),
        (Driver(["H200"], lacks="nvmlInit"), "no NVIDIA driver answers (no answer)"),
        (Driver(["H200"], lacks="nvmlDeviceGetMemoryInfo"), "the NVIDIA driver fails (no answer)"),
    ],
    ids=["none", "no driver", "a driver that fails"],
)
def test_no_gpu_has_a_reason(driver: Driver, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(driver, monkeypatch) == GpuReport((), reason)


def test_without_its_package_the_driver_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert see_gpus({}).reason == "the package nvidia-ml-py is not installed"
