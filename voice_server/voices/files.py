"""Files of the voice store: read only when they are plain, written whole or not at all.

A draft is a hidden file that becomes the real one by a rename; one that its writer left behind is swept away later.
"""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from voice_server.core.errors import BadSample, SampleTooLarge

_DRAFT_PREFIX, _DRAFT_SUFFIX = ".draft-", ".new"
_ABANDONED_S = 600.0  # far longer than any draft is worked on, soon enough for what may be somebody's voice

Stat = tuple[int, int, int, int]  # inode, size, mtime, ctime: what changes when a file does, or who may read it
NO_FILE: Stat = (0, 0, 0, 0)


def stat_of(path: Path) -> Stat:
    try:
        found = path.lstat()
    except OSError:
        return NO_FILE
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_plain(path: Path, most: int, what: str) -> bytes:
    """A plain file's bytes. Links, pipes and devices may lead anywhere, or never end. Raises BadSample."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadSample(f"{what} cannot be opened ({error.strerror}); links are not followed") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise BadSample(f"{what} is not a plain file: put the sound itself there")
    with os.fdopen(fd, "rb") as file:
        content = file.read(most + 1)
    return check_size(content, most, what)


def check_size(content: bytes, most: int, what: str) -> bytes:
    if len(content) > most:
        size = f"{most >> 20} MiB" if most >> 20 else f"{most} bytes"
        raise SampleTooLarge(f"{what} is larger than {size}: shorten it")
    return content


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """An empty file for its owner's eyes only, to be renamed to its true name; removed if it was not."""
    fd, name = tempfile.mkstemp(_DRAFT_SUFFIX, _DRAFT_PREFIX, folder)
    os.close(fd)
    try:
        yield Path(name)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def write_whole(path: Path, content: bytes) -> None:
    with draft(path.parent) as new:
        new.write_bytes(content)
        new.replace(path)


def is_draft(name: str) -> bool:
    return name.startswith(_DRAFT_PREFIX) and name.endswith(_DRAFT_SUFFIX)


def sweep(folder: Path, names: list[str]) -> None:
    """Remove drafts among `names` whose writer must have died."""
    for name in names:
        if is_draft(name):
            with suppress(OSError):
                if time.time() - (folder / name).lstat().st_mtime > _ABANDONED_S:
                    (folder / name).unlink()
