"""The folder of voice samples: `NAME.wav` (mp3, flac, ogg, opus) is the voice NAME, `NAME.txt` beside it its words,
`NAME.json` what is told about it.

A voice is only ever a key of the table that scanning builds; of a client's words only a name that `is_voice_name`
passed becomes a path. What does not fit is left out with a reason. The sound is written last: half a voice is none.
Everything here blocks and may be called from any thread; unchanged files cost a few stats.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from voice_server.core.errors import BadSample, StorageFull, UnknownVoice, VoiceExists
from voice_server.core.limits import VoiceLimits
from voice_server.voices.copies import CleanCopies, Studio
from voice_server.voices.files import NO_FILE, Stat, draft, stat_of, sweep, write_whole
from voice_server.voices.sample import (
    MEDIA_TYPES,
    Recording,
    Sample,
    beside,
    check_name,
    check_sound,
    check_transcript,
    read_recording,
)
from voice_server.voices.sidecar import NOTHING, About, check_about, claims, write_about

_log = logging.getLogger(__name__)

_Stamp = tuple[Stat, Stat, Stat]  # of the sound, its transcript and its sidecar


@dataclass(frozen=True, slots=True)
class _Look:
    stamp: _Stamp
    found: Recording | str  # or why it is none


class VoiceStore:
    """What is public is as of the last look at the folder, and replaced by the next, never changed."""

    def __init__(self, folder: Path, limits: VoiceLimits, studio: Studio, home: Path) -> None:
        """`home` is where the folder of clean copies is made."""
        self.samples: dict[str, Sample] = {}
        self.problems: dict[str, str] = {}  # by file name
        self.aliases: dict[str, str] = {}  # alias → voice
        self.defaults: dict[str, str] = {}  # backend → its default voice
        self._folder = folder
        self._limits = limits
        self._copies = CleanCopies(home, folder, studio, limits.copy_bytes)
        self._copies.forget_lost_folders()
        self._seen: dict[Path, _Look] = {}
        self._lock = Lock()

    def scan(self) -> None:
        with self._lock:
            self._scan()

    def add(self, name: str, sound: bytes, suffix: str, transcript: str = "", about: About = NOTHING) -> Sample:
        """Make a voice, or tell an existing one its new words. Raises BadSample, VoiceExists, StorageFull."""
        original = self._folder / f"{check_name(name)}{_check_suffix(suffix)}"
        words = check_transcript(transcript, self._limits)
        new = Recording(name, original.absolute(), check_sound(sound, self._limits), words, check_about(about))
        with self._lock:
            self._scan()
            existing = self._check_free(new)
            try:
                if existing:
                    _write_told(existing.original, words, new.about)
                else:
                    self._place(new, sound)
            except OSError as error:
                raise StorageFull(f"the voice could not be kept ({error.strerror}): make room for it") from error
            self._scan()
            return self._added(name)

    def remove(self, name: str) -> None:
        """Its sound, its words and its clean copy are gone. Raises UnknownVoice, StorageFull."""
        with self._lock:
            sample = self.samples.get(name)
            if sample is None:
                raise UnknownVoice("there is no recording of a voice with this name", field="voice")
            try:
                for path in self._sounds_of(name):
                    path.unlink(missing_ok=True)
                _write_told(sample.original, "", NOTHING)
            except OSError as error:
                raise StorageFull(f"the voice could not be removed ({error.strerror})") from error
            self._scan()

    def _sounds_of(self, name: str) -> list[Path]:
        """Also those that were left out because another file is the voice: they would take its place."""
        return [path for path, look in self._seen.items() if path.stem == name and isinstance(look.found, Recording)]

    def _scan(self) -> None:
        copies = self._copies.listed()  # first: what another process makes from now on has its sound already
        seen = {path: self._look(path) for path in self._files()}
        problems = {path.name: look.found for path, look in seen.items() if isinstance(look.found, str)}
        found = [look.found for look in self._in_order(seen) if isinstance(look.found, Recording)]
        self._copies.keep_only({recording.key for recording in found}, copies)
        samples: dict[str, Sample] = {}
        digests: dict[str, str] = {}
        for recording in found:
            try:
                samples[recording.name] = self._admit(recording, samples, digests)
            except (BadSample, VoiceExists, StorageFull) as problem:
                problems[recording.original.name] = problem.message
        self._seen = seen
        self._publish(samples, problems)

    def _publish(self, samples: dict[str, Sample], problems: dict[str, str]) -> None:
        aliases, defaults, refused = claims({name: sample.about for name, sample in samples.items()})
        problems |= {beside(samples[name].original, ".json").name: why for name, why in refused.items()}
        for file, problem in problems.items():
            if self.problems.get(file) != problem:
                _log.warning("voice sample %r: %s", file, problem)
        self.samples, self.problems, self.aliases, self.defaults = samples, problems, aliases, defaults

    def _in_order(self, seen: dict[Path, _Look]) -> list[_Look]:
        """Who was a voice before stays one; else the older file comes first, however it is called."""
        known = {sample.original.name for sample in self.samples.values()}
        ordered = sorted(seen.items(), key=lambda one: (one[0].name not in known, one[1].stamp[0][2], one[0].name))
        return [look for _, look in ordered]

    def _admit(self, recording: Recording, samples: dict[str, Sample], digests: dict[str, str]) -> Sample:
        if recording.name in samples:
            other = samples[recording.name].original.name
            raise VoiceExists(f"there is another file for the voice {recording.name}: {other}")
        if recording.digest in digests:
            raise _same_sound(digests[recording.digest])
        path, duration_s = self._copies.find_or_make(recording.key, recording.original)
        digests[recording.digest] = recording.name
        told = recording.transcript, recording.key, duration_s, recording.about
        return Sample(recording.name, path, recording.original, *told)

    def _files(self) -> list[Path]:
        try:
            names = sorted(os.listdir(self._folder))
        except OSError:
            return []
        sweep(self._folder, names)
        return [self._folder / name for name in names if name.lower().endswith(tuple(MEDIA_TYPES))]

    def _look(self, path: Path) -> _Look:
        stamp = stat_of(path), stat_of(beside(path, ".txt")), stat_of(beside(path, ".json"))
        known = self._seen.get(path)
        if known and known.stamp == stamp:
            return known
        try:
            return _Look(stamp, read_recording(path, self._limits))
        except BadSample as problem:
            return _Look(stamp, problem.message)

    def _check_free(self, new: Recording) -> Recording | None:
        """The recording that is to be told anew, or None. Raises VoiceExists."""
        voices = [look.found for look in self._seen.values() if isinstance(look.found, Recording)]
        voices = [voice for voice in voices if voice.name in self.samples and self.samples[voice.name].key == voice.key]
        others = {voice.name: voice.about for voice in voices if voice.name != new.name}
        if new.name in self.aliases:
            raise VoiceExists(f"{new.name} is already an alias of {self.aliases[new.name]}: choose another name")
        _, _, refused = claims({**others, new.name: new.about})
        if new.name in refused:
            raise VoiceExists(refused[new.name])
        for voice in voices:
            if voice.digest == new.digest and voice.name != new.name:
                raise _same_sound(voice.name)
            if voice.name == new.name and voice.digest != new.digest:
                raise VoiceExists(f"there is a voice {new.name} already: choose another name, or remove that one first")
            if voice.name == new.name:
                return voice
        if stat_of(new.original) != NO_FILE:
            raise VoiceExists(f"there is a file {new.original.name} that is no voice: take it away first")
        return None

    def _place(self, new: Recording, sound: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with draft(self._folder) as recording:
            recording.write_bytes(sound)
            self._copies.find_or_make(new.key, recording)
            try:
                _write_told(new.original, new.transcript, new.about)
                recording.replace(new.original)
            except OSError:
                self._copies.remove(new.key)
                with suppress(OSError):
                    _write_told(new.original, "", NOTHING)
                raise

    def _added(self, name: str) -> Sample:
        if name not in self.samples:
            raise VoiceExists(f"the voice {name} was taken away or changed meanwhile: try again")
        return self.samples[name]


def _same_sound(other: str) -> VoiceExists:
    return VoiceExists(f"it is the recording that the voice {other} has already: give that one an alias instead")


def _check_suffix(suffix: str) -> str:
    if suffix.lower() in MEDIA_TYPES:
        return suffix.lower()
    raise BadSample(f"a recording is one of {', '.join(MEDIA_TYPES)}: save it as one of them")


def _write_told(original: Path, transcript: str, about: About) -> None:
    """The words and the sidecar; what says nothing is no file."""
    sidecar = write_about(about) if about != NOTHING else b""
    for suffix, content in ((".txt", transcript.encode()), (".json", sidecar)):
        if content:
            write_whole(beside(original, suffix), content)
        else:
            beside(original, suffix).unlink(missing_ok=True)
