"""Voice packs that are downloaded once, one file of half a megabyte each."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable

from voice_server.worker.adapter import BackendError

REPOSITORY = "onnx-community/Kokoro-82M-v1.0-ONNX"
_TIMEOUT_S = 30.0
_PACK_BYTES = 510 * 256 * 4


def fetch_pack(name: str, repository: str, report: Callable[[str], None]) -> Path:
    """The file of a voice, from this machine or else from the hub. Raises BackendError("bad_config")."""
    path = _folder() / repository.replace("/", "--") / f"{name}.bin"
    if not path.is_file():
        report(f"downloading the voice {name}")
        _store(path, _download(name, repository))
    return path


def _download(name: str, repository: str) -> bytes:
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        with urllib.request.urlopen(f"{hub}/{repository}/resolve/main/voices/{name}.bin", timeout=_TIMEOUT_S) as answer:
            content = bytes(answer.read(_PACK_BYTES + 1))
    except urllib.error.HTTPError as error:
        raise BackendError("bad_config", f"{repository} on the hub has no voice {name} ({error.code})") from error
    except OSError as error:
        advice = f"put {name}.bin into the folder that the option voices_dir names"
        message = f"the voice {name} is not here and the hub cannot be reached: {advice}"
        raise BackendError("bad_config", message, retryable=True) from error
    if len(content) != _PACK_BYTES:  # a page to sign in at, or a download that broke off
        raise BackendError("bad_config", f"what the hub gave for the voice {name} is no voice pack", retryable=True)
    return content


def _store(path: Path, content: bytes) -> None:
    """Whole or not at all: other workers look for the file at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def _folder() -> Path:
    cache = os.environ.get("VOICE_SERVER_CACHE") or os.path.join("~", ".cache", "voice-server")
    return Path(cache).expanduser() / "kokoro"
