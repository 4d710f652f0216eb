"""`doctor`: what is here, what is missing, and what to do about it.

Promises: changes nothing and loads no engine. It exits with 1 only for what keeps the chosen backend from speaking.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import uv
from rich.console import Console
from rich.table import Table
from rich.text import Text

from voice_server.config import BackendConfig, Config, pick_backend
from voice_server.core.errors import VoiceError
from voice_server.core.voice_names import is_voice_name
from voice_server.machine import GpuReport, see_gpus
from voice_server.venvs import VenvBuildFailed, VenvStore

_STYLES = {"ok": "green", "note": "yellow", "broken": "red"}
_AUDIO = (".wav", ".mp3", ".flac", ".ogg")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. Only a `broken` one makes doctor fail."""

    state: Literal["ok", "note", "broken"]
    about: str
    text: str
    advice: str = ""  # what to do, as a sentence


def run_doctor(
    config: Config,
    store: VenvStore,
    *,
    environ: Mapping[str, str] = os.environ,
    samples: Path = Path("voice_samples"),
    find_uv: Callable[[], str] = uv.find_uv_bin,
    console: Console | None = None,
) -> int:
    """Prints the findings and returns 1 if something needed is broken, else 0."""
    console = console or Console(highlight=False)
    findings = list(examine(config, store, environ, samples, find_uv))
    table = Table.grid(padding=(0, 2))
    for finding in findings:
        text = Text(finding.text + (f"\n-> {finding.advice}" if finding.advice else ""), overflow="fold")
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), Text(finding.about, no_wrap=True), text)
    console.print(table)
    return 1 if any(finding.state == "broken" for finding in findings) else 0


def examine(
    config: Config, store: VenvStore, environ: Mapping[str, str], samples: Path, find_uv: Callable[[], str]
) -> Iterator[Finding]:
    """The findings, most general first."""
    gpus = see_gpus(environ)
    yield Finding("ok", "Python", platform.python_version())
    yield Finding("ok", "configuration", str(config.path))
    yield _gpus(gpus)
    chosen, choice = _choice(config, gpus)
    yield choice
    yield _uv(find_uv, is_needed=chosen is not None and store.find(chosen.venv) is None and not chosen.venv.path)
    for backend in config.backends.values():
        yield _backend(backend, store, is_chosen=backend is chosen)
    yield from _stale(config, store)
    yield _playback()
    yield _samples(samples)


def _choice(config: Config, gpus: GpuReport) -> tuple[BackendConfig | None, Finding]:
    try:
        backend, reason = pick_backend(config, "", gpus.gpus)
    except VoiceError as error:
        return None, Finding("broken", "chosen backend", error.message, "Add a backend that fits, or change its needs.")
    return backend, Finding("ok", "chosen backend", f"{backend.name}. {reason}")


def _gpus(report: GpuReport) -> Finding:
    lines = [f"{gpu.index}: {gpu.name}, {gpu.free_gib:.1f} of {gpu.total_gib:.1f} GiB free" for gpu in report.gpus]
    return Finding("ok", "GPUs", "\n".join(lines) or f"none: {report.reason}")


def _uv(find_uv: Callable[[], str], *, is_needed: bool) -> Finding:
    try:
        return Finding("ok", "uv", find_uv())
    except FileNotFoundError:
        state: Literal["note", "broken"] = "broken" if is_needed else "note"
        return Finding(state, "uv", "not installed; it builds the environments of backends", "pip install uv")


def _backend(backend: BackendConfig, store: VenvStore, *, is_chosen: bool) -> Finding:
    about = f"backend {backend.name}"
    wrong: Literal["note", "broken"] = "broken" if is_chosen else "note"
    adapter = _missing_adapter(backend)
    if adapter is not None:
        return Finding(
            wrong, about, f"its adapter {adapter} does not exist", f"Correct backends.{backend.name}.adapter."
        )
    trouble = _trouble(backend, store)
    if trouble is not None:
        return Finding(wrong, about, *trouble)
    if store.find(backend.venv) is None:
        return Finding(
            "note", about, "not built yet; the first start does", f"python -m voice_server install {backend.name}"
        )
    folder = store.folder(backend.venv)
    return Finding("ok", about, f"{folder}, {_mebibytes(folder)} MiB")


def _trouble(backend: BackendConfig, store: VenvStore) -> tuple[str, str] | None:
    """What is wrong with a backend's environment or will be when it is built, and what to do."""
    if backend.venv.path is not None:
        try:
            store.build(backend.name, backend.venv, lambda _: None)  # an environment of the user's is only checked
        except VenvBuildFailed as error:
            return error.detail, error.retry
    elif store.find(backend.venv) is None and not store.has_interpreter(backend.venv):
        return f"this machine has no Python {backend.venv.python}", "Install it, or change venv.python."
    return None


def _missing_adapter(backend: BackendConfig) -> Path | None:
    """The file of an adapter that is named by its path and is not there."""
    where = Path(backend.adapter.rpartition(".py")[0] + ".py")
    return where if where.is_absolute() and not where.is_file() else None


def _mebibytes(folder: Path) -> int:
    sizes = (path.lstat().st_size for path in folder.rglob("*"))
    return sum(sizes) // 2**20


def _stale(config: Config, store: VenvStore) -> Iterator[Finding]:
    for folder in store.stale(backend.venv for backend in config.backends.values()):
        text = f"{folder}, {_mebibytes(folder)} MiB, which no backend needs"
        yield Finding("note", "old environment", text, "python -m voice_server install --prune")


def _playback() -> Finding:
    try:
        importlib.import_module("sounddevice")
    except ImportError:
        return _without_sounddevice("the package sounddevice is not installed", "pip install 'voice-server[play]'")
    except OSError:
        return _without_sounddevice("sounddevice is there, but PortAudio is not", "apt install libportaudio2")
    return Finding("ok", "playback", "sounddevice and PortAudio")


def _without_sounddevice(text: str, advice: str) -> Finding:
    player = next((name for name in ("pw-play", "paplay", "aplay") if shutil.which(name)), None)
    instead = f"{player} plays instead" if player else "audio can be written to files and sockets only"
    return Finding("note", "playback", f"{text}; {instead}", advice)


def _samples(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("ok", "voice samples", f"none: there is no {folder}")
    stems = sorted(path.stem for path in folder.iterdir() if path.suffix.lower() in _AUDIO)
    unusable = [stem for stem in stems if not is_voice_name(stem)]
    if unusable:
        return Finding("note", "voice samples", f"no voice can be called {', '.join(unusable)}", "Rename the files.")
    return Finding("ok", "voice samples", f"{len(stems)} in {folder}" + (": " + ", ".join(stems) if stems else ""))
