"""A cluster is asked for where nothing can drive one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness import TIMEOUT_S
from voice_server.pool.remote import has_ray


@pytest.mark.skipif(has_ray(), reason="Ray is installed")
def test_cluster_without_ray_ends_the_start_and_says_what_to_install() -> None:
    command = [sys.executable, "-m", "voice_server", "--backend", "tone", "--port", "0", "--cluster", "auto"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=3 * TIMEOUT_S)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith('--cluster needs Ray: pip install "voice-server[cluster]"')
    assert "Traceback" not in ended.stderr
