"""Voices as prompt features: checked samples in, features out, computed once.

Features are kept in memory (the ones used last) and on disk, where all workers of a machine share them: those of a
sample beside it, so that the gateway removes them with the voice, all others in a folder of their own. A file appears
whole or not at all, and the first worker to finish one decides its content for all. Its name is a hash of the model,
the sample and the transcript, so nothing in it can go stale.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import tempfile
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from voice_server.backends.voxcpm.engine import Features, Prompt
from voice_server.worker.adapter import BackendError

_SAMPLE_S = (1.0, 30.0)  # shorter holds no voice; longer costs memory (3 minutes: 9 GB) and gains nothing
_SAMPLE_RATES = (8_000, 192_000)  # Hz
_SAMPLE_CHANNELS = 8
_SAMPLE_BYTES = 48 * 1024 * 1024  # 30 s of 8 channels at 48 kHz in 32 bits
_SILENCE = 0.003  # peak, -50 dB of full scale
_FILES = 1000  # about 100 MB


def check_sample(path: str) -> bytes:
    """The content of a sample that can be cloned. Raises BackendError("unknown_voice") for any other file."""
    import soundfile

    try:
        if os.path.getsize(path) > _SAMPLE_BYTES:
            raise _unusable(f"it is larger than {_SAMPLE_BYTES >> 20} MiB")
        content = Path(path).read_bytes()
        _check_header(soundfile.info(io.BytesIO(content)))
        audio, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    except OSError as error:
        raise _unusable(f"it cannot be read ({error.strerror})") from error
    except soundfile.SoundFileError as error:
        raise _unusable("it is no wav, mp3, flac or ogg") from error
    if not np.isfinite(audio).all():
        raise _unusable("it holds samples that are no numbers")
    if np.abs(audio).max(initial=0.0) < _SILENCE:
        raise _unusable("it is silent")
    return content


def _check_header(info: Any) -> None:
    """From the header alone, before anything is decoded: a small file may hold hours."""
    seconds = info.frames / info.samplerate
    if not _SAMPLE_S[0] <= seconds <= _SAMPLE_S[1]:
        raise _unusable(f"it lasts {seconds:.1f} s, not {_SAMPLE_S[0]:g} to {_SAMPLE_S[1]:g}")
    if info.channels > _SAMPLE_CHANNELS or not _SAMPLE_RATES[0] <= info.samplerate <= _SAMPLE_RATES[1]:
        raise _unusable(f"{info.channels} channels at {info.samplerate} Hz are no recording of a voice")


def _unusable(why: str) -> BackendError:
    return BackendError("unknown_voice", f"the sample of this voice cannot be used: {why}")


def default_folder(environ: Mapping[str, str]) -> Path:
    """prompts in $VOICE_SERVER_CACHE, or in the user's own cache."""
    cache = environ.get("VOICE_SERVER_CACHE") or os.path.join("~", ".cache", "voice-server")
    return Path(cache).expanduser() / "prompts"


class PromptStore:
    """The voices of one model. `model` is its fingerprint; `voices` how many are kept in memory."""

    def __init__(self, folder: Path, model: str, voices: int) -> None:
        self._folder = folder
        self._model = model
        self._voices = voices
        self._recent: OrderedDict[str, Prompt] = OrderedDict()

    def recall(self, voice: str) -> Prompt | None:
        """From memory."""
        if voice in self._recent:
            self._recent.move_to_end(voice)
        return self._recent.get(voice)

    def find(self, voice: str, *content: bytes, sample: Path | None = None) -> Prompt | None:
        """From disk, where features of this content were computed before: beside its sample, if it has one."""
        path = self._path(content, sample)
        try:
            prompt = _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, EOFError, OSError):  # damaged, or of another format: computed anew
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # so that the ones used last survive
        return self._remember(voice, prompt)

    def keep(self, voice: str, prompt: Prompt, *content: bytes, sample: Path | None = None) -> Prompt:
        """Remember a voice. Returns what is on disk: perhaps another worker was faster, and its features count."""
        path = self._path(content, sample)
        try:
            if sample is None:  # a sample whose folder is gone was taken back: nothing of its voice may stay
                self._folder.mkdir(parents=True, exist_ok=True)
            _write(path, _encode(prompt))
        except OSError as error:
            print(f"prompt features could not be kept in {path.parent}: {error}; other workers compute them too")
            return self._remember(voice, prompt)
        return self.find(voice, *content, sample=sample) or self._remember(voice, prompt)

    def _path(self, content: tuple[bytes, ...], sample: Path | None) -> Path:
        digest = hashlib.sha256(self._model.encode())
        for part in content:
            digest.update(len(part).to_bytes(8, "big") + part)
        name = f"{digest.hexdigest()}.npz"
        return sample.with_name(f"{sample.stem}.{name}") if sample else self._folder / name

    def _remember(self, voice: str, prompt: Prompt) -> Prompt:
        self._recent[voice] = prompt
        self._recent.move_to_end(voice)
        while len(self._recent) > self._voices:
            self._recent.popitem(last=False)
        return prompt


def _write(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f"{path.stem}.", suffix=".new") as draft:
        draft.write(content)
        draft.flush()
        with contextlib.suppress(FileExistsError):
            os.link(draft.name, path)  # unlike a rename, it never replaces
    for old in sorted(path.parent.glob("*.npz"), key=_age, reverse=True)[_FILES:]:
        old.unlink(missing_ok=True)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # another worker tidies up too
        return 0.0


def _encode(prompt: Prompt) -> bytes:
    arrays = {"continuation": prompt.features.continuation, "transcript": np.array(prompt.transcript)}
    if prompt.features.reference is not None:
        arrays["reference"] = prompt.features.reference
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its flags
    return buffer.getvalue()


def _decode(content: bytes) -> Prompt:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            features = Features(arrays.get("reference"), arrays["continuation"])
            return Prompt(features, str(arrays["transcript"]))
    except zipfile.BadZipFile as error:
        raise ValueError("not a zip file") from error
