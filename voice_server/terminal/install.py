"""`install`: builds the environments of backends ahead of the first start, and shows how far it is.

A terminal gets a spinner with uv's last line for each backend; a pipe or a log gets plain lines.
"""

from __future__ import annotations

import os

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from voice_server.config import AUTO, BackendConfig, Config, pick_backend
from voice_server.core.errors import VoiceError
from voice_server.machine import see_gpus
from voice_server.terminal.weights import fetch_weights
from voice_server.venvs import Report, VenvBuildFailed, VenvStore


def run_install(
    config: Config,
    names: list[str],
    store: VenvStore,
    *,
    weights: bool = False,
    prune: bool = False,
    console: Console | None = None,
) -> int:
    """Builds the environments of `names`, or of the backend that `auto` picks. Returns 1 when one failed.

    `weights` also downloads the models that the backends would download at their first start. `prune` then removes the
    environments that no backend of `config` needs.
    """
    console = console or Console(highlight=False)
    try:
        backends = _chosen(config, names)
    except VoiceError as error:
        console.print(escape(error.message), style="red")
        return 1
    install = _install_with_spinner if console.is_terminal else _install_in_lines
    results = [install(backend, store, console) for backend in backends]
    if weights:
        found = [(backend, store.find(backend.venv)) for backend in backends]
        results += [fetch_weights(backend, python, console) for backend, python in found if python]
    if prune:
        _prune(config, store, console)
    return 0 if all(results) else 1


def _chosen(config: Config, names: list[str]) -> list[BackendConfig]:
    gpus = see_gpus(os.environ).gpus
    return [pick_backend(config, name, gpus)[0] for name in dict.fromkeys(names or [AUTO])]


def _install_with_spinner(backend: BackendConfig, store: VenvStore, console: Console) -> bool:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[backend]}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None, backend=backend.name)
        built = _build(backend, store, lambda line: progress.update(task, description=escape(line)))
    return _tell(backend, built, console)


def _install_in_lines(backend: BackendConfig, store: VenvStore, console: Console) -> bool:
    built = _build(backend, store, lambda line: console.print(f"{backend.name}: {line}", markup=False, soft_wrap=True))
    return _tell(backend, built, console)


def _build(backend: BackendConfig, store: VenvStore, report: Report) -> str | VenvBuildFailed:
    try:
        return str(store.build(backend.name, backend.venv, report))
    except VenvBuildFailed as error:
        return error


def _tell(backend: BackendConfig, built: str | VenvBuildFailed, console: Console) -> bool:
    if isinstance(built, VenvBuildFailed):
        console.print(str(built), style="red", markup=False, soft_wrap=True)
        return False
    console.print(f"{backend.name}: ready, {built}", markup=False, soft_wrap=True)
    return True


def _prune(config: Config, store: VenvStore, console: Console) -> None:
    for folder in store.prune(backend.venv for backend in config.backends.values()):
        console.print(f"removed {folder}, which no backend needs", markup=False, soft_wrap=True)
