"""Voices of Kokoro: packs of style vectors, read from files and blended.

A pack is a row of 256 numbers for each length of a text in phonemes. Packs come in .npz files, by name (kokoro-onnx
calls the same thing .bin), or each as the plain float32 numbers of a .bin file that is called like the voice
(onnx-community's repositories on the hub). "a(2)+b(1)" is a voice too: two parts a, one part b.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Dict, Iterator, List, Tuple

import numpy as np
from numpy.typing import NDArray

from voice_server.worker.adapter import BackendError

Style = NDArray[np.float32]

_WIDTH = 256
_ZIP = b"PK"
_PART = re.compile(r"([^()+\s]+)(?:\((\d{1,4}(?:\.\d{1,4})?)\))?")


class Packs:
    """The voices by name. Blends are not kept: clients may think of any number, and one is made in no time."""

    def __init__(self, packs: Dict[str, Style]) -> None:
        self.names = list(packs)
        self._styles = packs

    def style(self, voice: str) -> Style:
        """The vectors of a voice or blend, of shape (lengths, 256). Raises BackendError("unknown_voice")."""
        return self._styles[voice] if voice in self._styles else self._blend(voice)

    def _blend(self, voice: str) -> Style:
        parts = blend_parts(voice)
        missing = [name for name, _ in parts if name not in self.names]
        total = sum(weight for _, weight in parts)
        if missing or not total:
            wrong = f"no voice {(missing or [voice])[0]!r}"
            raise BackendError("unknown_voice", f"{wrong}; kokoro has {', '.join(self.names)}")
        length = min(len(self._styles[name]) for name, _ in parts)
        weighted = [self._styles[name][:length] * np.float32(weight / total) for name, weight in parts]
        return np.asarray(sum(weighted), np.float32)


def blend_parts(voice: str) -> List[Tuple[str, float]]:
    """The names and weights of "a(2)+b(1)", or what is no blend as the only part."""
    found = [_PART.fullmatch(part) for part in voice.split("+")]
    if not all(found):
        return [(voice, 1.0)]
    return [(part[1], float(part[2] or 1)) for part in found if part]


def read_folder(folder: str) -> Dict[str, Style]:
    """The packs in a folder's files, by name. Raises BackendError("bad_config")."""
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise BackendError("bad_config", f"there is no folder {folder}")
    files = sorted(file for file in path.iterdir() if file.suffix in (".npz", ".bin"))
    if not files:
        raise BackendError("bad_config", f"{folder} holds no .npz or .bin files of voices")
    return dict(pack for file in files for pack in read_file(file))


def read_file(path: Path) -> Iterator[Tuple[str, Style]]:
    """The packs of a file. Raises BackendError("bad_config")."""
    try:
        content = path.read_bytes()
        if not content.startswith(_ZIP):
            yield path.stem, _checked(np.frombuffer(content, dtype="<f4"))
            return
        with np.load(io.BytesIO(content), allow_pickle=False) as packs:
            for name in packs.files:
                yield name, _checked(packs[name])
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise BackendError("bad_config", f"{path} holds no voices of Kokoro: {error}") from error


def _checked(numbers: NDArray[np.float32]) -> Style:
    style = numbers.reshape(-1, _WIDTH).astype(np.float32)
    if not len(style) or not np.isfinite(style).all():
        raise ValueError("its numbers are no style vectors")
    return style
