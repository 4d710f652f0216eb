"""One recording in, one clean wav out: `python -I __main__.py IN OUT MIN_S MAX_S` by the gateway's own interpreter.

Promises: prints one JSON line, `{"refused": why}` or `{"refused": ""}`; takes no more time, memory or disk than a
recording of MAX_S seconds can need, whatever its header says: the kernel ends it otherwise.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
from pathlib import Path

_MEMORY = 1 << 30  # bytes of address space: numpy and its libraries map 300 MB, 30 s of stereo at 96 kHz need 100 more
_CPU_S = 10  # 0.5 s are usual; an evil file may make a decoder run for ever
_DISK = 1 << 25  # bytes of one file: 30 s of clean sound are 3 MB


def limit_myself() -> None:
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each thread maps memory of its own
    limits = {resource.RLIMIT_AS: _MEMORY, resource.RLIMIT_CPU: _CPU_S, resource.RLIMIT_FSIZE: _DISK}
    for what, most in {**limits, resource.RLIMIT_CORE: 0}.items():  # a core would be a copy of somebody's voice
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def main(source: str, target: str, min_s: str, max_s: str) -> None:
    limit_myself()
    clean = runpy.run_path(str(Path(__file__).with_name("clean.py")))["clean_file"]
    print(json.dumps({"refused": clean(source, target, float(min_s), float(max_s))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
