"""The four functions of torchaudio and librosa that voxcpm calls, by soundfile and soxr.

voxcpm imports both packages only to read samples. The real torchaudio needs torchcodec and a matching FFmpeg, which is
the most reported failure of its installation; the real librosa compiles for 11 s at its first use. With these, samples
are read alike in every environment, and the smallest installation (1.2 GB instead of 2.3) suffices.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


def install() -> None:
    """Put the stand-ins where `import torchaudio` and `import librosa` find them; call before importing voxcpm."""
    functional = _module("torchaudio.functional", resample=resample)
    _module("torchaudio", load=load, functional=functional)
    _module("librosa", load=load_at)


def load(path: Any) -> tuple[Any, int]:
    """As torchaudio.load: a tensor of shape (channels, samples), and its rate in Hz."""
    import torch

    audio, rate = _read(path)
    return torch.from_numpy(np.ascontiguousarray(audio.T)), rate


def resample(audio: Any, rate: int, new_rate: int) -> Any:
    """As torchaudio.functional.resample, for a tensor of shape (channels, samples)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(_at_rate(audio.numpy().T, rate, new_rate).T))


def load_at(path: Any, sr: int, mono: bool = True) -> tuple[NDArray[np.float32], int]:
    """As librosa.load: samples of shape (n,) if `mono`, else (channels, n)."""
    audio, rate = _read(path)
    resampled = _at_rate(audio.mean(axis=1, keepdims=True) if mono else audio, rate, sr).T
    return np.ascontiguousarray(resampled[0] if mono else resampled), sr


def _read(path: Any) -> tuple[NDArray[np.float32], int]:
    import soundfile

    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return audio, int(rate)


def _at_rate(audio: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    import soxr

    resampled: NDArray[np.float32] = audio if rate == new_rate else soxr.resample(audio, rate, new_rate)
    return resampled


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name, __doc__)
    module.__spec__ = ModuleSpec(name, None)  # transformers asks importlib whether there is such a package
    vars(module).update(content)
    sys.modules[name] = module
    return module
