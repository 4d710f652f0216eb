"""The parcels on a node: a shelf by content, shared by all of its workers, and a tray for each of them.

Promises: a file on the shelf is whole, whoever wrote it and whoever died; what is used stays, within a limit; what was
learned of a parcel and kept beside it goes with it. A tray holds its files whatever becomes of the shelf, and is gone
with its worker, at the latest when the next one opens a tray.

    home/parcels/DIGEST.wav    a parcel; its time is when it was used
    home/parcels/DIGEST.*      what belongs to it
    home/trays/NAME/           a tray, links to parcels; NAME.lock beside it is held while it is in use
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import os
import shutil
import tempfile
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from voice_server.core.limits import ParcelLimits
from voice_server.pool.cluster.parcels import LORAS, Landing


class Depot:
    """The shelf of a node, and the tray of one worker, which is there until `close`. Raises OSError in all it does."""

    def __init__(self, home: Path, limits: ParcelLimits) -> None:
        self._shelf, self._trays = home / "parcels", home / "trays"
        self._limits = limits
        for folder in (self._shelf, self._trays):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._drafts = itertools.count()
        with _alone_in(self._trays):
            self._sweep_trays()
            self._tray = Path(tempfile.mkdtemp(dir=self._trays))
            self._lock = _locked(_lock_of(self._tray))
        (self._tray / LORAS).mkdir()
        self._make_room(keep="")

    @property
    def landing(self) -> Landing:
        return Landing(str(self._shelf), str(self._tray))

    async def bring(self, name: str, place: str, content: Awaitable[bytes]) -> None:
        """Have the parcel `name` on the shelf, and at its place in the tray. Its content is awaited only if need be."""
        if not await asyncio.to_thread(self._use, name):
            await asyncio.to_thread(self._keep, name, await content)
        if place:
            await asyncio.to_thread(self._lay, name, place)

    def forget(self, digests: Iterable[str]) -> None:
        """With what was learned of them."""
        for digest in digests:
            _remove(self._shelf.glob(f"{digest}.*"))

    def close(self) -> None:
        """The worker is gone."""
        shutil.rmtree(self._tray, ignore_errors=True)
        _lock_of(self._tray).unlink(missing_ok=True)
        os.close(self._lock)

    def _use(self, name: str) -> bool:
        try:
            os.utime(self._shelf / name)
        except FileNotFoundError:
            return False
        return True

    def _keep(self, name: str, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._shelf, prefix=f"{name}.", suffix=".new", delete=False) as draft:
            try:
                draft.write(content)
                draft.flush()
                os.replace(draft.name, self._shelf / name)
            except OSError:
                Path(draft.name).unlink(missing_ok=True)
                raise
        self._make_room(keep=_owner(name))

    def _lay(self, name: str, place: str) -> None:
        target = self._tray / place
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = self._tray / f".{next(self._drafts)}.new"
        os.link(self._shelf / name, draft)
        os.replace(draft, target)  # a link to the same file would leave the draft ...
        draft.unlink(missing_ok=True)  # ... to us

    def _make_room(self, keep: str) -> None:
        """Those used longest ago go first, and those used long before all others."""
        groups: dict[str, list[tuple[Path, os.stat_result]]] = {}
        for path in self._shelf.iterdir():
            with suppress(FileNotFoundError):  # another worker tidies up too
                groups.setdefault(_owner(path.name), []).append((path, path.stat()))
        room = self._limits.node_bytes
        unused = max(map(_used_at, groups.values()), default=0.0) - self._limits.node_s
        for group in sorted(groups, key=lambda group: (group == keep, _used_at(groups[group])), reverse=True):
            room -= sum(told.st_size for _, told in groups[group])
            if group != keep and (room < 0 or _used_at(groups[group]) < unused):
                _remove(path for path, _ in groups[group])

    def _sweep_trays(self) -> None:
        """Those whose workers have died without a word."""
        for lock in self._trays.glob("*.lock"):
            with suppress(OSError):  # it is held, or swept by another
                held = _locked(lock)
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
                os.close(held)


def _owner(name: str) -> str:
    """What a file on the shelf belongs to."""
    return name.partition(".")[0]


def _used_at(group: list[tuple[Path, os.stat_result]]) -> float:
    return max(told.st_mtime for _, told in group)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Or a tray could be swept before it is locked."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _lock_of(tray: Path) -> Path:
    return tray.with_name(f"{tray.name}.lock")


def _locked(lock: Path) -> int:
    """Not a process id: containers that share this folder each count their own. Raises BlockingIOError."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
