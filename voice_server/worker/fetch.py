"""Downloads what an adapter needs before any worker does. Runs in a backend's environment, and loads no engine.

An adapter class that downloads something has a static method `fetch(options, report)`: the same options as those of its
constructor, and a function to tell with what it is doing.
"""

from __future__ import annotations

from typing import Any, Callable, Dict

from voice_server.worker.adapter import BackendError, load_adapter


def fetch(adapter: str, options: Dict[str, Any], report: Callable[[str], None]) -> int:
    """The exit code; in the end one sentence is told."""
    try:
        download = getattr(load_adapter(adapter), "fetch", None)
        if download is None:
            report("there is nothing to download")
            return 0
        download(options, report)
    except BackendError as error:
        report(error.message)
        return 1
    except Exception as error:  # of whichever library: the hub's, the network's, a full disk's
        report(f"the download failed ({type(error).__name__}): {str(error).strip().split(chr(10))[0]}")
        return 1
    report("weights are here")
    return 0
