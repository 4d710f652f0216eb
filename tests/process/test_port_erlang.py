"""The ports, driven from a real Erlang virtual machine: `{packet, 4}` for two of them, a raw stream for the third."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.harness import tone_bytes, wait_until
from tests.process.hearing_driver import beeps, words
from tests.process.port_driver import HOME, PATIENCE_S, is_worker, pcm_of_f32, write_config

SCRIPTS = Path(__file__).parent / "ports"
ESCRIPT = shutil.which("escript")

pytestmark = pytest.mark.skipif(ESCRIPT is None, reason="no Erlang here: apt-get install erlang-base")


def run(script: str, port: str, config: Path, *files: Path) -> str:
    """What the program prints, when all it expects has come true."""
    assert ESCRIPT
    command = [ESCRIPT, str(SCRIPTS / f"{script}.escript"), *map(str, files), *port_command(port, config)]
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def port_command(port: str, config: Path) -> list[str]:
    return [sys.executable, "-m", "voice_server", "port", port, "--config", str(config)]


def test_erlang_is_heard(tmp_path: Path, tone_python: Path) -> None:
    tune = (440, 880, 1320, 660)
    samples = np.frombuffer(beeps(*tune), "<i2") / np.float32(32767)
    (tmp_path / "tune.f32").write_bytes(samples.astype("<f4").tobytes())
    told = run("stt", "stt", write_config(tmp_path, "pitch"), tmp_path / "tune.f32").splitlines()
    *partials, final = (line.partition(" ")[2] for line in told)
    assert told[-1].startswith("final ") and final == words(*tune)
    assert len(set(partials)) >= 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise([*partials, final]))


def test_erlang_speaks_and_interrupts_itself(tmp_path: Path, tone_python: Path) -> None:
    run("tts", "tts", write_config(tmp_path, "tone", speed_rtf=0.5), tmp_path / "spoken.f32")
    assert pcm_of_f32((tmp_path / "spoken.f32").read_bytes()) == tone_bytes("Hello from Erlang.")


def test_erlang_speaks_through_the_bridge(tmp_path: Path, tone_python: Path) -> None:
    wav, streamed = tmp_path / "spoken.wav", tmp_path / "spoken.f32"
    run("voxcpmex", "voxcpmex", write_config(tmp_path, "tone"), wav, streamed)
    assert wav.read_bytes()[44:] == tone_bytes("Hello from Erlang.") == pcm_of_f32(streamed.read_bytes())


def test_a_virtual_machine_that_is_killed_takes_its_port_along(tmp_path: Path, tone_python: Path) -> None:
    assert ESCRIPT
    (tmp_path / "silence.f32").write_bytes(bytes(64_000 * 60))  # a minute at a microphone's pace
    config = write_config(tmp_path, "pitch")
    command = [ESCRIPT, str(SCRIPTS / "stt.escript"), str(tmp_path / "silence.f32"), *port_command("stt", config)]
    environ = {**os.environ, "PYTHONPATH": str(HOME)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as machine:
        wait_until(lambda: any(map(is_worker, family(machine.pid))), "its worker is there", PATIENCE_S)
        children = family(machine.pid)
        machine.kill()
        gone, left = psutil.wait_procs(children, PATIENCE_S)
    assert not left and len(gone) >= 3  # the port, its guardian, its worker


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)
