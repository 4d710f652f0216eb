"""One recording in: `python -E __main__.py clean IN OUT MIN_S MAX_S` or `… decode RATE MAX_S` by the gateway's own
interpreter.

Promises: `clean` writes one clean wav and prints one JSON line, `{}`, `{"refused": why}` or `{"unwritten": why}`;
`decode` reads its standard input, a file, and prints PCM. Neither takes more time, memory or disk than a recording of
MAX_S seconds can need, whatever its header says: the kernel ends it otherwise.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
from pathlib import Path
from typing import Any

_MEMORY = 1 << 30  # bytes of address space: numpy and its libraries map 300 MB, 30 s of stereo at 96 kHz need 100 more
_CPU_S = 10  # 0.5 s are usual; an evil file may make a decoder run for ever
_DECODE_CPU = 0.05  # of a long recording's length: an MP3 of 48 kHz takes 0.004
_DISK = 1 << 25  # bytes of one file: 30 s of clean sound are 3 MB


def limit_myself(cpu_s: int = _CPU_S) -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each thread maps memory of its own
    limits = {resource.RLIMIT_AS: _MEMORY, resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_FSIZE: _DISK}
    for what, most in {**limits, resource.RLIMIT_CORE: 0}.items():  # a core would be a copy of somebody's voice
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def clean(source: str, target: str, min_s: str, max_s: str) -> int:
    limit_myself()
    print(json.dumps(_module("clean")["clean_file"](source, target, float(min_s), float(max_s))))
    return 0


def decode(rate: str, max_s: str) -> int:
    limit_myself(_CPU_S + int(float(max_s) * _DECODE_CPU))
    code: int = _module("decode")["decode_to"](sys.stdin.buffer, sys.stdout.buffer, int(rate), float(max_s))
    return code


def _module(name: str) -> Any:
    """Loaded when the limits hold."""
    return runpy.run_path(str(Path(__file__).with_name(f"{name}.py")))


if __name__ == "__main__":
    sys.exit((clean if sys.argv[1] == "clean" else decode)(*sys.argv[2:]))
