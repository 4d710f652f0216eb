"""`install --weights`: what a backend would download at its first start, ahead of it, in its own environment.

The libraries that download draw their progress bars themselves, on stderr.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from rich.console import Console

from voice_server.config import BackendConfig

_BOOTSTRAP = Path(__file__).parents[1] / "worker" / "bootstrap.py"
_SCRIPT = """
import functools, json, runpy, sys
runpy.run_path(sys.argv[1])["mount_package"]()
from voice_server.worker.fetch import fetch
sys.exit(fetch(sys.argv[2], json.loads(sys.argv[3]), functools.partial(print, flush=True)))
"""


def fetch_weights(backend: BackendConfig, python: Path, console: Console) -> bool:
    """Blocks. False when something is missing afterwards; the reason was told then."""
    command: list[str | Path] = [python, "-I", "-c", _SCRIPT, _BOOTSTRAP, backend.adapter, json.dumps(backend.options)]
    environ = os.environ | backend.env
    with subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as child:
        for line in child.stdout or ():
            console.print(f"{backend.name}: {line.rstrip()}", markup=False, soft_wrap=True)
    return child.returncode == 0
