"""Where the workers of tests live: on this machine, or with `pytest --placement ray` on the nodes of a Ray cluster.

The cluster runs beside the tests, not below them, so that they still see which processes they leave behind; it ends
when they do, however they end.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from voice_server.pool.launcher import Launcher
from voice_server.pool.process import Guardian
from voice_server.pool.remote import Bridge, RayLauncher

_ROOT = Path(__file__).parents[1]
_DETACHED = 'exec 3<&0; "$@" <&3 &'  # the shell leaves at once: what it has started is no child of ours


@dataclass
class Placement:
    """Of the workers that no test places itself."""

    cluster: str = ""  # its address
    launcher: Launcher | None = None  # None: here
    launched: int = 0  # pools and servers, there


PLACEMENT = Placement()


def needs_home(why: str) -> None:
    """Leave a test that cannot be told of workers elsewhere."""
    if PLACEMENT.launcher:
        pytest.skip(f"only where workers are at home: {why}")


@contextmanager
def on_ray() -> Iterator[None]:
    with cluster_beside(nodes=3, cpus=32) as address:  # there is room for all workers of any test
        guardian = Guardian()
        bridge = Bridge(address, guardian, os.environ)
        PLACEMENT.cluster, PLACEMENT.launcher = address, RayLauncher(bridge, lambda process: None)
        try:
            yield
        finally:
            PLACEMENT.cluster, PLACEMENT.launcher = "", None
            bridge.close()
            guardian.close()


@contextmanager
def cluster_beside(*, nodes: int, cpus: int, client_port: int = 0) -> Iterator[str]:
    """Its address."""
    program = [sys.executable, "-m", "tests.cluster.nodes", str(nodes), str(cpus), str(client_port)]
    command = ["/bin/sh", "-c", _DETACHED, "sh", *program]
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdin and shell.stdout
        shell.wait()
        address = shell.stdout.readline().strip()
        assert address, "the cluster has started"
        yield address
        shell.stdin.close()
        shell.stdout.read()
