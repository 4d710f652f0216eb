"""One real server for all clients, and the notes of what they did with it.

Without the group `compat` nothing here is collected. Client libraries may leave sockets and threads to the garbage
collector: that is theirs, and no fault of a test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.compat.audio import Recogniser, Sound
from tests.compat.report import Report, RowFile
from tests.harness import wait_until
from tests.server_process import HOME, ServerProcess

CLIENTS = ("openai", "livekit", "pipecat", "elevenlabs", "deepgram", "wyoming", "av")
BACKENDS = ("tone", "hibari", "pitch")
READY_S = 100.0  # building an environment and loading, on a busy machine
TOKEN = "a-token-for-the-clients"
_THEIR_LEAKS = (
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)

collect_ignore_glob = [] if all(map(find_spec, CLIENTS)) else ["test_*.py"]


@dataclass(frozen=True, slots=True)
class CompatServer:
    """`python -m voice_server` with the shipped backends tone (the default), hibari and pitch, behind a token."""

    process: ServerProcess
    token: str

    @property
    def port(self) -> int:
        return self.process.port

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ours = Path(__file__).parent
    for item in items:
        if ours in item.path.parents:
            item.add_marker(pytest.mark.compat)
            for leak in _THEIR_LEAKS:
                item.add_marker(pytest.mark.filterwarnings(leak))


@pytest.fixture(scope="session")
def server() -> Iterator[CompatServer]:
    chosen = [flag for name in BACKENDS for flag in ("--backend", name)]
    flags = [*chosen, "--port", "0", "--connections-per-address", "256"]
    environ = {**os.environ, "PYTHONPATH": str(HOME), "VOICE_SERVER_TOKEN": TOKEN}
    command = [sys.executable, "-m", "voice_server", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ, cwd=HOME)
    try:
        running = ServerProcess(process)
        wait_until(
            lambda: all(f"{name} is ready" in running.stderr for name in BACKENDS), "all backends are ready", READY_S
        )
        yield CompatServer(running, TOKEN)
    finally:
        process.terminate()
        process.wait()
        assert process.stderr
        process.stderr.close()


@pytest.fixture(scope="session")
def _rows(worker_id: str) -> RowFile:
    folder = os.environ.get("COMPAT_ROWS")
    return RowFile(Path(folder) / f"{worker_id}.json" if folder else None)


@pytest.fixture
def report(request: pytest.FixtureRequest, _rows: RowFile) -> Report:
    """`with report("openai", version("openai"), "speech as mp3"): …` notes for docs/compatibility.md how it went."""
    return Report(_rows, request.path.name)


@pytest.fixture(scope="session")
def hear(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sound], str]:
    """The words in a sound, as a speech recogniser reads them."""
    return Recogniser(tmp_path_factory.mktemp("heard"))
