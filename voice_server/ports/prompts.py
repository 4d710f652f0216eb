"""Recordings that a client names by their paths, as voices for as long as the port lives.

The client started this process and owns the machine that the paths are of, so it may name any file that it could read
itself; yet no file reaches an engine that the voice store would refuse. A file is copied under a hash of its content
into a store of its own: the folder of voices stays as it is, and nothing is left when the port ends.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from voice_server.core.errors import UnknownVoice
from voice_server.core.limits import Limits
from voice_server.stream.backend import Backend
from voice_server.voices import VoiceStore
from voice_server.voices.files import read_plain


class Prompts:
    def __init__(self, store: VoiceStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._names: list[str] = []  # the one that was wanted last is at the end

    def speaker(self, backend: Backend) -> Backend:
        """The same engine with the voices of these recordings instead of the samples'."""
        return backend.with_voices(self._store)

    def add(self, path: str, transcript: str) -> str:
        """The name of the voice of a file. Blocks. Raises BadSample, StorageFull."""
        sound = read_plain(Path(path).expanduser(), self._limits.voices.sample_bytes, "the recording")
        name = f"prompt-{hashlib.sha256(sound).hexdigest()[:16]}"
        self._store.add(name, sound, Path(path).suffix, transcript)
        self._names = [*(other for other in self._names if other != name), name]
        while len(self._names) > self._limits.ports.prompts:
            self._store.remove(self._names.pop(0))
        return name


def is_voice(backend: Backend, name: str) -> bool:
    """Whether this is the name of one of its voices, rather than a path."""
    try:
        backend.resolve_voice(name)
    except UnknownVoice:
        return False
    return True
