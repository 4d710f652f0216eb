"""Every target of the fuzzer with what hypothesis finds in a second, so that it is known to work; then with atheris."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds_of
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_stands_what_hypothesis_makes_of_its_seeds(name: str) -> None:
    seeds = seeds_of(name)

    @settings(max_examples=40)
    @given(st.sampled_from(seeds), st.integers(0, 4096), st.binary(max_size=20), st.integers(0, 20))
    def spoil(seed: bytes, where: int, what: bytes, gone: int) -> None:
        at = where % (len(seed) + 1)
        TARGETS[name](seed[:at] + what + seed[at + gone :])

    for seed in seeds:
        TARGETS[name](seed)
    spoil()


@pytest.mark.release
@pytest.mark.timeout(60 * 120)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="no atheris: uv sync --group fuzz")
@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_stands_a_minute_of_fuzzing(name: str) -> None:
    command = [sys.executable, "-m", "tests.fuzz", name, "--seconds", "60"]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
