"""One recording: what is checked before anything is decoded, and what makes it another voice than before.

Only headers are read here; decoding happens in the studio, a process of its own. A refusal says what would be right.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import soundfile

from voice_server.core.errors import BadSample
from voice_server.core.limits import VoiceLimits
from voice_server.core.voice_names import is_voice_name
from voice_server.voices.files import check_size, read_plain
from voice_server.voices.sidecar import NOTHING, About, read_about

MEDIA_TYPES = {
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
}
_A_DAY_S = 86_400.0  # a header that says more was written before the end was known
_CLEANING = b"1"  # raised when the studio makes something else of the same sound, so that old copies are not used


@dataclass(frozen=True, slots=True)
class Sample:
    """A voice to be cloned."""

    name: str
    path: Path  # the clean copy, which engines read: wav, mono, 48 kHz, 16 bit
    original: Path
    transcript: str  # "" when there is none
    key: str  # changes with the sound and with its transcript
    duration_s: float  # of the clean copy
    about: About = NOTHING


@dataclass(frozen=True, slots=True)
class Recording:
    """A sample as it was found, not yet cleaned."""

    name: str
    original: Path
    digest: str  # of the sound alone
    transcript: str
    about: About

    @property
    def key(self) -> str:
        content = b"\0".join((_CLEANING, self.digest.encode(), self.transcript.encode()))
        return hashlib.sha256(content).hexdigest()[:32]


def beside(original: Path, suffix: str) -> Path:
    """The file that belongs to a sound and has another suffix."""
    return original.with_name(original.stem + suffix)


def read_recording(path: Path, limits: VoiceLimits) -> Recording:
    """A file of the folder with what is told beside it. Raises BadSample."""
    name = check_name(path.stem)
    sound = read_plain(path, limits.sample_bytes, "the recording")
    digest = check_sound(sound, limits)
    texts, abouts = beside(path, ".txt"), beside(path, ".json")
    told = read_plain(texts, limits.transcript_chars * 4, "its transcript") if _exists(texts) else b""
    about = read_about(read_plain(abouts, limits.sidecar_bytes, "its sidecar")) if _exists(abouts) else NOTHING
    return Recording(name, path.absolute(), digest, read_transcript(told, limits), about)


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def check_name(name: str) -> str:
    if is_voice_name(name):
        return name
    raise BadSample(
        "its name is not one a voice can have: letters, digits, and between them space + - . _", field="name"
    )


def check_sound(content: bytes, limits: VoiceLimits) -> str:
    """The digest of a sound whose size and header will do. Raises BadSample."""
    if not check_size(content, limits.sample_bytes, "the recording"):
        raise BadSample("the file is empty: copy the recording once more")
    try:
        header = soundfile.info(io.BytesIO(content))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadSample("it is not a sound that can be read: save it as wav, mp3, flac or ogg") from error
    _check_header(header.samplerate, header.channels, header.frames / max(1, header.samplerate), limits)
    return hashlib.sha256(content).hexdigest()


def _check_header(rate: int, channels: int, seconds: float, limits: VoiceLimits) -> None:
    lowest, highest = limits.sample_rate_min, limits.sample_rate_max
    if not lowest <= rate <= highest:
        raise BadSample(f"its rate is {rate} Hz, not {lowest} to {highest}: save it at 24000 or 48000 Hz")
    if channels > limits.sample_channels:
        raise BadSample(f"it has {channels} channels, not 1 or 2: save it in mono")
    if seconds < limits.sample_min_s:
        raise BadSample(f"it lasts {seconds:.2f} s: speak for {limits.sample_min_s:g} s at least, 10 s are good")
    if seconds > _A_DAY_S:
        raise BadSample("its header does not say how long it is: save it anew, as wav")
    if seconds > limits.sample_max_s:
        raise BadSample(f"it lasts {seconds:.2f} s: cut it to {limits.sample_max_s:g} s at most, where nobody speaks")


def read_transcript(content: bytes, limits: VoiceLimits) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSample("its transcript is not UTF-8: save it as UTF-8", field="transcript") from error
    return check_transcript(text, limits)


def check_transcript(text: str, limits: VoiceLimits) -> str:
    """The words in one line. Raises BadSample."""
    if len(text) > limits.transcript_chars:
        raise BadSample(f"its transcript is longer than {limits.transcript_chars} characters", field="transcript")
    return " ".join(text.split())
