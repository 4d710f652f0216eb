"""Parcels: the files of this machine that messages name, and that a worker on another machine has to have.

What a message names is told by its fields, and by them alone: the file of an adapter with the modules beside it, a
folder of LoRA adapters, the recording of a voice. A parcel goes by the hash of its content, so that it travels once to
each node and a file that was replaced is another one. Weights do not travel: they are gigabytes.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar

from voice_server.core.limits import ParcelLimits
from voice_server.wire.messages import Load, Message, Render

Ref = TypeVar("Ref")

ADAPTER, LORAS = "adapter", "loras"  # folders of a tray; the second is also the option that names the folder here
_LORA_FILES = "lora_*"  # of what a training leaves in a folder
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")  # of a LoRA adapter: a client says it, and it becomes a path


@dataclass(frozen=True, slots=True)
class Parcel:
    source: Path
    place: str  # in the tray of the worker; "": it is found by its content, beside what workers have learned of it

    def name(self, digest: str) -> str:
        """On the shelf of a node."""
        return f"{digest}{self.source.suffix}"


@dataclass(frozen=True, slots=True)
class Landing:
    """Where parcels are, on the node of a worker."""

    shelf: str  # by content, for all of its workers
    tray: str  # by place, for this worker


class Addresses:
    """The messages to one worker: what they name here, and what they are to name there. `base`: of relative paths."""

    def __init__(self, base: Path, landing: Landing, limits: ParcelLimits) -> None:
        self._base = base
        self._landing = landing
        self._limits = limits
        self._loras: Path | None = None  # as its load has said

    def names_files(self, message: Message) -> bool:
        match message:
            case Load():
                return message.adapter.partition(":")[0].endswith(".py") or LORAS in message.options
            case Render():
                return bool(message.sample.get("path")) or self._lora_of(message) is not None
        return False

    def parcels(self, message: Message) -> list[Parcel]:
        """Looks at folders. Raises OSError."""
        match message:
            case Load():
                self._loras = self._folder_of_loras(message.options)
                loras = sorted(self._loras.iterdir()) if self._loras else []
                return [*self._modules(message.adapter), *(parcel for lora in loras for parcel in _files_of(lora))]
            case Render():
                path, lora = message.sample.get("path"), self._lora_of(message)
                sample = [Parcel(self._base / path, "")] if path else []
                return [*sample, *(_files_of(lora) if lora else [])]
        return []

    def addressed(self, message: Message, digests: Mapping[Parcel, str]) -> Message:
        """The message with the paths of the node. What is not here is told as it was: the worker says what it lacks."""
        sources = {parcel.source: parcel.name(digest) for parcel, digest in digests.items()}
        match message:
            case Load(adapter=adapter):
                place, colon, name = adapter.partition(":")
                path = self._base / place
                there = f"{self._landing.tray}/{ADAPTER}/{path.name}" if path in sources else place
                loras = {LORAS: f"{self._landing.tray}/{LORAS}"} if self._loras else {}
                return replace(message, adapter=there + colon + name, options=message.options | loras)
            case Render(sample=sample) if sample.get("path"):
                name = sources[self._base / sample["path"]]
                return replace(message, sample=sample | {"path": f"{self._landing.shelf}/{name}"})
        return message

    def _modules(self, adapter: str) -> list[Parcel]:
        """The file of an adapter and those that it can import from beside it."""
        path = self._base / adapter.partition(":")[0]
        if path.suffix != ".py" or not path.is_file():
            return []
        modules = sorted(path.parent.glob("*.py"))
        if len(modules) > self._limits.beside:
            raise OSError(errno.E2BIG, f"{len(modules)} modules lie beside {path.name}: give it a folder of its own")
        return [Parcel(module, f"{ADAPTER}/{module.name}") for module in modules]

    def _folder_of_loras(self, options: Mapping[str, Any]) -> Path | None:
        told = options.get(LORAS)
        folder = self._base / Path(told).expanduser() if isinstance(told, str) and told else None
        return folder if folder and folder.is_dir() else None

    def _lora_of(self, render: Render) -> Path | None:
        name = render.options.get("lora")
        return self._loras / name if self._loras and isinstance(name, str) and _NAME.fullmatch(name) else None


def _files_of(lora: Path) -> list[Parcel]:
    return [Parcel(path, f"{LORAS}/{lora.name}/{path.name}") for path in sorted(lora.glob(_LORA_FILES))]


@dataclass(frozen=True, slots=True)
class _Known:
    stamp: tuple[int, ...]
    digest: str


class Offers(Generic[Ref]):
    """What nodes can fetch: each content is `put` once while it is kept. Blocks; may be called from any thread."""

    def __init__(self, put: Callable[[bytes], Ref], limits: ParcelLimits) -> None:
        self._put = put
        self._limits = limits
        self._known: OrderedDict[Path, _Known] = OrderedDict()
        self._offered: OrderedDict[str, tuple[Ref, int]] = OrderedDict()  # by digest; with the bytes that it takes
        self._reading, self._table = Lock(), Lock()  # one file is read at a time; nobody waits for that in vain

    def offer(self, path: Path) -> tuple[str, Ref]:
        """Its hash, and where a node gets it. Raises OSError, or what `put` raises."""
        stamp = _stamp(path)
        found = self._find(path, stamp)
        if found:
            return found
        with self._reading:
            return self._find(path, stamp) or self._read(path, stamp)

    def vanished(self) -> list[str]:
        """The hashes of files that are no more, told once; one that lies elsewhere too is not among them."""
        with self._table:
            paths = list(self._known)
        lost = [path for path in paths if not path.exists()]
        with self._table:
            digests = {self._known.pop(path).digest for path in lost if path in self._known}
            digests -= {known.digest for known in self._known.values()}
            for digest in digests:
                self._offered.pop(digest, None)
        return sorted(digests)

    def _find(self, path: Path, stamp: tuple[int, ...]) -> tuple[str, Ref] | None:
        with self._table:
            known = self._known.get(path)
            if known is None or known.stamp != stamp or known.digest not in self._offered:
                return None
            self._known.move_to_end(path)
            self._offered.move_to_end(known.digest)
            return known.digest, self._offered[known.digest][0]

    def _read(self, path: Path, stamp: tuple[int, ...]) -> tuple[str, Ref]:
        content = _content(path, self._limits.file_bytes)
        digest = hashlib.sha256(content).hexdigest()
        with self._table:
            offered = self._offered.get(digest)
        ref = offered[0] if offered else self._put(content)
        with self._table:
            self._known[path] = _Known(stamp, digest)
            self._offered[digest] = ref, len(content)
            self._known.move_to_end(path)
            self._offered.move_to_end(digest)
            self._forget_the_oldest()
        return digest, ref

    def _forget_the_oldest(self) -> None:
        while len(self._known) > self._limits.known:
            self._known.popitem(last=False)
        while len(self._offered) > 1 and sum(size for _, size in self._offered.values()) > self._limits.offered_bytes:
            self._offered.popitem(last=False)


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes with a file. Raises OSError for what is no plain file: a pipe would be read for ever."""
    told = path.stat()
    if not stat.S_ISREG(told.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _content(path: Path, most: int) -> bytes:
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB, which is the most that travels")
        return file.read(most)
