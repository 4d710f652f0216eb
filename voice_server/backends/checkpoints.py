"""Weights that an engine needs: a folder, or a model of the Hugging Face hub, downloaded on first use.

Promises: nothing is downloaded where a folder is named; whoever lacks weights is told where they come from and how to
get them here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Sequence

from voice_server.worker.adapter import BackendError

Report = Callable[[str], None]


def locate(model: str, patterns: Sequence[str], needed: Sequence[str], report: Report) -> Path:
    """The folder of `model`, which holds the files `needed`. Raises BackendError("bad_config")."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1")  # for the libraries that are imported next
    elif folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise BackendError("bad_config", f"there is no folder {model}; a model of the hub is written owner/name")
    else:
        folder = _fetch(model, patterns, report)
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise BackendError("bad_config", f"{model} has no {', '.join(missing)}: this is no model of this engine")
    return folder.absolute()


def _fetch(model: str, patterns: Sequence[str], report: Report) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    report(f"downloading {model}, unless it is here already")
    options: dict[str, Any] = {"allow_patterns": list(patterns)}
    try:
        return Path(snapshot_download(model, **options))
    except RepositoryNotFoundError as error:
        raise BackendError("bad_config", f"the hub has no model {model}, or it is a private one") from error
    except OSError as error:  # the hub's own errors and the network's
        advice = "run `install NAME --weights` where there is a network, or name a folder with them in the option model"
        message = f"weights needed: {model} is not on this machine and could not be downloaded; {advice}"
        raise BackendError("bad_config", message, retryable=True) from error
