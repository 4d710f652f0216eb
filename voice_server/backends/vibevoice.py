"""VibeVoice (vibevoice 0.0.1): English and Chinese in the voice of a recording, audio while the sentence is rendered.

Facts, read in its source: a text that ends in .txt or .json and names a file is replaced by that file; a line that
begins with "Speaker 2:" changes the speaker, and one that begins with nothing is dropped; control tokens are obeyed;
generate() needs a recording; it gives 3200 samples (133 ms) at a time, and stops at twice the length of its input.
Published demos scale each chunk to its own peak, which makes the loudness jump: nothing is scaled here.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, List, Optional

from voice_server.backends.checkpoints import locate
from voice_server.backends.pulling import NOTHING, Put, pulled
from voice_server.worker.adapter import TRUNCATED, BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    Speech = Generator[Samples, None, Optional[str]]

ZERO_SHOT = "zero-shot"
_PATTERNS = ("*.safetensors", "*.json", "*.txt")
_TOKENIZER_PATTERNS = ("tokenizer*", "vocab.json", "merges.txt")
_KINDS = {".wav", ".flac", ".ogg", ".mp3"}
_RATE = 24_000  # of the package: no configuration changes it
_FRAME = 3200  # samples of one step, where the model does not say
_PRESET_S = (1.0, 60.0)  # the first part of a longer one would do, but which one is for a person to choose
_CONTROL = re.compile(r"<\|[^|<>]{0,60}\|>")


class VibeVoiceBackend:
    """The adapter. `model`: a folder or a hub id. `voices_dir`: presets, recordings whose stems are voices.

    `tokenizer`: a folder or hub id of Qwen2.5's, where the model's folder has none. `steps`: of the diffusion.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        model: str = "microsoft/VibeVoice-1.5B",
        tokenizer: str = "Qwen/Qwen2.5-1.5B",
        voices_dir: str = "",
        steps: int = 10,
        max_voices: int = 32,
        progress: Callable[[str], None] = print,
    ) -> None:
        folder = locate(model, _PATTERNS, ("config.json",), progress)
        self._presets = _presets(voices_dir)
        progress("reading weights")
        self._processor: Any = _processor(folder, tokenizer, progress)
        self._model: Any = _model(folder, device, steps)
        self._recordings: OrderedDict[str, Samples] = OrderedDict()
        self._max_voices = max_voices
        self.device = device
        self.sample_rate = _RATE

    @staticmethod
    def fetch(options: Dict[str, Any], report: Callable[[str], None]) -> None:
        """Download the model and its tokenizer ahead, where they are of the hub."""
        folder = locate(str(options.get("model", "microsoft/VibeVoice-1.5B")), _PATTERNS, ("config.json",), report)
        _tokenizer_folder(folder, str(options.get("tokenizer", "Qwen/Qwen2.5-1.5B")), report)

    def voices(self) -> List[str]:
        """The presets, and a voice that is another one with every seed."""
        return [*self._presets, ZERO_SHOT]

    def prepare_voice(self, voice: str, sample_path: str, transcript: str = "") -> None:
        """Keep a sample at hand; its words are not needed."""
        if voice not in self._recordings:
            self._recordings[voice] = _read(Path(sample_path))
        self._recordings.move_to_end(voice)
        while len(self._recordings) > self._max_voices:
            self._recordings.popitem(last=False)

    def render(self, text: str, voice: str, *, cfg_scale: float = 1.3, seed: Optional[int] = None) -> Speech:
        words = " ".join(_CONTROL.sub(" ", text).split())
        if not any(map(str.isalnum, words)):
            raise BackendError("bad_text", "there is no word in this text")
        chosen = zlib.crc32(voice.encode()) if seed is None else seed
        return self._speech(self._inputs(words, voice), cfg_scale, chosen)

    def _recording(self, voice: str) -> Optional[Samples]:
        """None for the voice that needs none. Never a guess: who is not known is refused."""
        if voice == ZERO_SHOT:
            return None
        if voice not in self._recordings and voice in self._presets:
            self.prepare_voice(voice, str(self._presets[voice]))
        if voice not in self._recordings:
            known = ", ".join(self.voices())
            raise BackendError("unknown_voice", f"this voice has no recording; those that are there are {known}")
        return self._recordings[voice]

    def _inputs(self, words: str, voice: str) -> Dict[str, Any]:
        """What generate() needs. One line of one speaker: nothing of the text can be taken for a file or a script."""
        import torch

        recording = self._recording(voice)
        samples = None if recording is None else [[recording]]
        made = dict(self._processor(text=[f"Speaker 1: {words}"], voice_samples=samples, return_tensors="pt"))
        if recording is None:  # one silent frame, of which nothing is looked at
            made["speech_tensors"] = torch.zeros(1, self._processor.speech_tok_compress_ratio)
            made["speech_masks"] = torch.zeros(1, 1, dtype=torch.bool)
        kept = ("input_ids", "attention_mask", "speech_input_mask", "speech_tensors", "speech_masks")
        return {name: made[name].to(self.device) for name in kept}

    def _speech(self, inputs: Dict[str, Any], cfg_scale: float, seed: int) -> Speech:
        import torch

        was_cut = False

        def call(put: Put) -> None:
            nonlocal was_cut
            torch.manual_seed(seed)
            made = self._model.generate(
                **inputs,
                cfg_scale=cfg_scale,
                tokenizer=self._processor.tokenizer,
                generation_config={"do_sample": False},
                audio_streamer=_Streamer(put),
                stop_check_fn=lambda: put(NOTHING),  # None: it goes on
                show_progress_bar=False,
                return_speech=False,
            )
            # Its own note of who was cut comes a step after its last one (0.0.1), so nobody is ever in it.
            was_cut = int(made.sequences[0, -1]) != self._processor.tokenizer.eos_token_id

        yield from pulled(call)
        return TRUNCATED if was_cut else None


class _Streamer:
    """What generate() takes for one of its own streamers."""

    def __init__(self, put: Put) -> None:
        self._put = put

    def put(self, chunks: Any, indices: Any) -> None:
        self._put(chunks[0].detach().float().cpu().numpy().reshape(-1))

    def end(self, indices: Any = None) -> None:
        """The call returns by itself."""


def _presets(folder: str) -> Dict[str, Path]:
    if not folder:
        return {}
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise BackendError("bad_config", f"voices_dir: there is no folder {folder}")
    return {path.stem: path for path in sorted(place.iterdir()) if path.suffix.lower() in _KINDS}


def _read(path: Path) -> Samples:
    """A recording at the model's rate. Raises BackendError("unknown_voice")."""
    import numpy as np
    import soundfile
    import soxr

    try:
        seconds = soundfile.info(str(path)).duration
        if not _PRESET_S[0] <= seconds <= _PRESET_S[1]:
            wanted = f"{_PRESET_S[0]:g} to {_PRESET_S[1]:g} s"
            raise BackendError("unknown_voice", f"the recording lasts {seconds:.1f} s, and {wanted} are needed")
        audio, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise BackendError("unknown_voice", "the recording of this voice cannot be read") from error
    samples: Samples = np.ascontiguousarray(soxr.resample(audio.mean(axis=1), rate, _RATE), dtype=np.float32)
    return samples


def _tokenizer_folder(folder: Path, tokenizer: str, report: Callable[[str], None]) -> Path:
    if (folder / "tokenizer.json").is_file():
        return folder
    return locate(tokenizer, _TOKENIZER_PATTERNS, ("tokenizer.json",), report)


def _processor(folder: Path, tokenizer: str, report: Callable[[str], None]) -> Any:
    """Built from its parts: its own from_pretrained() guesses a tokenizer of the hub, and goes on with defaults."""
    from vibevoice.modular.modular_vibevoice_text_tokenizer import VibeVoiceTextTokenizerFast
    from vibevoice.processor.vibevoice_processor import VibeVoiceProcessor
    from vibevoice.processor.vibevoice_tokenizer_processor import VibeVoiceTokenizerProcessor

    path = folder / "preprocessor_config.json"
    config: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return VibeVoiceProcessor(
        tokenizer=VibeVoiceTextTokenizerFast.from_pretrained(_tokenizer_folder(folder, tokenizer, report)),
        audio_processor=VibeVoiceTokenizerProcessor(),
        speech_tok_compress_ratio=config.get("speech_tok_compress_ratio", _FRAME),
        db_normalize=config.get("db_normalize", True),
    )


def _model(folder: Path, device: str, steps: int) -> Any:
    import torch
    from vibevoice.modular.modeling_vibevoice_inference import VibeVoiceForConditionalGenerationInference

    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model, report = VibeVoiceForConditionalGenerationInference.from_pretrained(
        folder, torch_dtype=dtype, attn_implementation="sdpa", output_loading_info=True
    )
    if report["missing_keys"] or report["mismatched_keys"]:  # they would stay random: noise
        missing = ", ".join(sorted(map(str, report["missing_keys"]))[:3])
        raise BackendError("bad_config", f"weights are missing in {folder}: {missing}")
    model.set_ddpm_inference_steps(num_steps=steps)
    return model.to(device).eval()
