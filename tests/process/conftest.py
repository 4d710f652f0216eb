"""Single workers of the voxcpm backend, without a network."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LOAD_S
from tests.process.worker_driver import Worker, started
from voice_server.wire.messages import Ready

# Around the adapter, a network that tells on everybody who tries to use it.
OFFLINE = """
import socket
from pathlib import Path

def forbidden(*arguments, **options):
    (Path(__file__).parent / "network").write_text(repr(arguments))
    raise OSError("no network in this test")

socket.getaddrinfo = forbidden
socket.socket.connect = forbidden
from voice_server.backends.voxcpm import VoxcpmBackend
"""

StartVoxcpm = Callable[..., AbstractContextManager[Worker]]


def edit_tensors(path: Path, edit: Callable[[dict[str, Any], bytearray], None]) -> None:
    """A safetensors file is the length of its header, the header as JSON, and the data."""
    content = path.read_bytes()
    begin = 8 + struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8:begin]), bytearray(content[begin:])
    edit(header, data)
    encoded = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)


@pytest.fixture(scope="session")
def voxcpm_adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter without a network; the file `network` appears beside it if somebody tries."""
    path = tmp_path_factory.mktemp("adapter") / "offline.py"
    path.write_text(OFFLINE)
    return path


@pytest.fixture(scope="session")
def voxcpm_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def voxcpm_worker(voxcpm_python: Path, voxcpm_models: Path, voxcpm_adapter: Path, voxcpm_cache: Path) -> StartVoxcpm:
    """Starts a worker with the checkpoint of an architecture, or the one in a folder."""

    @contextmanager
    def _start(model: str | Path, ready: bool = True, **options: Any) -> Iterator[Worker]:
        with pytest.MonkeyPatch.context() as environ:
            environ.setenv("VOICE_SERVER_CACHE", str(voxcpm_cache))
            with started(python=str(voxcpm_python)) as worker:
                worker.sock.settimeout(LOAD_S)
                if ready:
                    folder = str(voxcpm_models / model)  # an absolute path stays what it is
                    answer = worker.load(f"{voxcpm_adapter}:VoxcpmBackend", model=folder, **options)
                    assert isinstance(answer, Ready), f"{answer}\n{worker.log}"
                yield worker

    return _start
