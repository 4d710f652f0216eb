"""C9: honest clients under a fault every two seconds, with the bench's own verdict."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SEED = 8


@pytest.mark.release
@pytest.mark.timeout(900)
def test_c9_three_minutes_of_faults_spoil_no_answer_and_leave_nothing() -> None:
    command = [sys.executable, "-m", "bench.soak", "--minutes", "3", "--seed", str(SEED)]
    soak = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800)
    assert soak.returncode == 0, soak.stdout[-8000:] + soak.stderr[-2000:]
