"""The clean copies of recordings, which engines read: made once by the studio, kept beside the engines' environments.

Each folder of samples has a folder of copies of its own, so that what is no voice there any more can be told from what
belongs to another server, and be removed: also when it was taken away while no server ran, with its folder or alone.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import soundfile

from voice_server.core.errors import BadSample, StorageFull
from voice_server.voices.files import draft, is_draft, sweep, write_whole

_log = logging.getLogger(__name__)

Studio = Callable[[Path, Path], bytes]  # cleans the first file into the second; the line it printed, b"" if it broke


class Verdict(msgspec.Struct, frozen=True):
    """What the studio prints."""

    refused: str = ""  # why, and what would be right
    unwritten: str = ""  # what the disk said


_OWNER = "samples"  # the file in a folder of copies that says whose they are
_TRIES = 3  # of a studio that breaks
_BROKEN = "it could not be decoded in the time and memory that a recording needs: save it anew as wav"


class CleanCopies:
    def __init__(self, home: Path, samples: Path, studio: Studio, room: int) -> None:
        """`room`: bytes that a copy may need."""
        self._home = home
        self._samples = os.fsencode(samples.absolute())
        self._folder = home / hashlib.sha256(self._samples).hexdigest()[:16]
        self._studio = studio
        self._room = room
        self._refused: dict[str, str] = {}  # by key: a recording is judged once
        self._breaks: Counter[str] = Counter()  # by key: how often the studio broke

    def path(self, key: str) -> Path:
        return self._folder / f"{key}.wav"

    def find_or_make(self, key: str, original: Path) -> tuple[Path, float]:
        """The copy, and for how many seconds it lasts. Raises BadSample, or StorageFull."""
        path = self.path(key)
        try:
            if not path.exists():
                self._make(key, original)
            return path, float(soundfile.info(path).duration)
        except OSError as error:
            raise _unwritten(error.strerror) from error
        except soundfile.LibsndfileError as error:
            path.unlink(missing_ok=True)  # damaged: the next look makes it anew
            raise StorageFull("its clean copy was damaged and has been removed: try again") from error

    def _make(self, key: str, original: Path) -> None:
        if key not in self._refused:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._folder / _OWNER, self._samples)
            with draft(self._folder) as new:
                verdict = self._clean(original, new)
                if verdict == Verdict():
                    new.replace(self.path(key))
                    return
            self._remember(key, verdict)
        raise BadSample(self._refused.get(key, _BROKEN))

    def _clean(self, original: Path, new: Path) -> Verdict | None:
        """None if the studio broke. Raises StorageFull."""
        if shutil.disk_usage(self._folder).free < self._room:  # or a full disk would keep the studio busy
            raise _unwritten("no space is left")
        try:
            verdict = msgspec.json.decode(self._studio(original, new), type=Verdict)
        except msgspec.MsgspecError:
            return None
        if verdict.unwritten:
            raise _unwritten(verdict.unwritten)
        return verdict

    def _remember(self, key: str, verdict: Verdict | None) -> None:
        """A studio that broke may have been short of memory or time for a moment: it is asked again, not for ever."""
        if verdict is not None:
            self._refused[key] = verdict.refused
            return
        self._breaks[key] += 1
        if self._breaks[key] == _TRIES:
            self._refused[key] = _BROKEN

    def listed(self) -> list[str]:
        try:
            return os.listdir(self._folder)
        except OSError:
            return []

    def keep_only(self, keys: set[str], listed: list[str]) -> None:
        """Remove what was `listed` before the keys were known and is nobody's: a voice that was taken away is gone.

        So is what an engine has learned of it and kept beside the copy.
        """
        sweep(self._folder, listed)
        for name in listed:
            if name != _OWNER and not is_draft(name) and name.partition(".")[0] not in keys:
                self._remove(self._folder / name)
        self._refused = {key: why for key, why in self._refused.items() if key in keys}
        self._breaks = Counter({key: breaks for key, breaks in self._breaks.items() if key in keys})

    def forget_lost_folders(self) -> None:
        """Remove the copies of folders of samples that are no more: nobody else would ever look at them."""
        for owner in self._home.glob(f"*/{_OWNER}"):
            with suppress(OSError):
                if not os.path.lexists(owner.read_bytes()):
                    shutil.rmtree(owner.parent)

    def remove(self, key: str) -> None:
        self._remove(self.path(key))

    @staticmethod
    def _remove(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("the copy of a voice that was taken away could not be removed: %s", error)


def _unwritten(why: str | None) -> StorageFull:
    return StorageFull(f"its clean copy could not be written ({why}): make room for it")
