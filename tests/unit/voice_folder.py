"""What becomes of recordings in a folder of voice samples, judged in this process."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness import hum_wav
from voice_server.core.limits import VoiceLimits
from voice_server.studio.clean import clean_file
from voice_server.voices import VoiceStore

ADA, BOB = hum_wav(pitch_hz=200.0), hum_wav(pitch_hz=300.0)


def in_this_process(source: Path, target: Path) -> bytes:
    return json.dumps(clean_file(str(source), str(target), 1.0, 30.0)).encode()


def store_of(folder: Path, limits: VoiceLimits = VoiceLimits()) -> VoiceStore:  # noqa: B008  # frozen
    return VoiceStore(folder, limits, in_this_process, folder.parent / "home")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder.parent / "home").rglob("*.*") if path.is_file())
