"""The script a worker process starts with: `<backend's python> -I bootstrap.py FD PARENT_PID`.

It makes the package `voice_server` importable from where this file lies, and nothing else: the folder above it may be
the gateway's site-packages, and with that on sys.path a backend would import the gateway's libraries, not its own.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from pathlib import Path

BAD_CONFIG = 78  # EX_CONFIG of sysexits.h: another start cannot mend it


def mount_package() -> None:
    folder = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(
        "voice_server", str(folder / "__init__.py"), submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package in {folder}")
    package = importlib.util.module_from_spec(spec)
    sys.modules["voice_server"] = package
    spec.loader.exec_module(package)


def main() -> None:
    mount_package()
    try:
        from voice_server.worker.main import run
        from voice_server.worker.process import leave
    except ImportError as missing:
        print(f"this backend's environment cannot run a worker: {missing}", file=sys.stderr)  # noqa: T201
        sys.exit(BAD_CONFIG)
    exit_code = 1
    try:
        exit_code = run(fd=int(sys.argv[1]), parent_pid=int(sys.argv[2]))
    except BaseException:  # also an engine's sys.exit(): the interpreter would wait for the engine's threads
        traceback.print_exc()
    leave(exit_code)


if __name__ == "__main__":
    main()
