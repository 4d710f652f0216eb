"""As recogniser.py, in any language: the model base, in the environment and with the weights of the backend whisper.

Arguments: a language, and WAV files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from faster_whisper import WhisperModel

sys.path.insert(0, str(Path(__file__).parents[2]))


def main(language: str, paths: list[str]) -> None:
    from voice_server.backends.whisper.weights import locate

    weights = locate("base", lambda report: print(report, file=sys.stderr))
    model = WhisperModel(str(weights), device="cpu", compute_type="int8", cpu_threads=1)
    print(json.dumps([_hear(model, language, path) for path in paths]))


def _hear(model: WhisperModel, language: str, path: str) -> str:
    segments, _ = model.transcribe(
        path, language=language, temperature=0.0, beam_size=5, condition_on_previous_text=False
    )
    return " ".join(segment.text for segment in segments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
