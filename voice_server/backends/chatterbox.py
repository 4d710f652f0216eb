"""Chatterbox (chatterbox-tts 0.1.7), turbo and standard: English, voices cloned from a sample, laughs and sighs.

Facts, read in its source: a sentence is rendered whole, at most 1000 speech tokens (40 s) long, and what is longer is
cut without a word; an empty text makes it say "You need to add some text for me to talk."; turbo ignores exaggeration,
cfg_weight and min_p with a warning nobody reads; it asserts a sample of more than 5 s; a voice is a state of the model
and stays for the next caller; control tokens such as [STOP] or <|endoftext|> are obeyed when a text holds them; without
pkg_resources (setuptools below 81) its watermarker is None and the constructor fails. All audio is watermarked.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, List, Optional

from voice_server.backends.checkpoints import locate
from voice_server.backends.pulling import NOTHING, Put, pulled
from voice_server.worker.adapter import TRUNCATED, BackendError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Speech = Generator[NDArray[np.float32], None, Optional[str]]

BUILT_IN = "default"
_FILES = {
    True: ("t3_turbo_v1.safetensors", "s3gen_meanflow.safetensors", "ve.safetensors", "tokenizer_config.json"),
    False: ("t3_cfg.safetensors", "s3gen.safetensors", "ve.safetensors", "tokenizer.json"),
}
_HUB = {True: "ResembleAI/chatterbox-turbo", False: "ResembleAI/chatterbox"}
_PATTERNS = ("*.safetensors", "*.json", "*.txt", "*.pt", "*.model")
_OPTIONS = {  # what generate() knows and obeys
    True: ("temperature", "top_p", "top_k", "repetition_penalty"),
    False: ("temperature", "top_p", "min_p", "repetition_penalty", "exaggeration", "cfg_weight"),
}
_SAMPLE_S = {True: (5.05, 60.0), False: (1.0, 60.0)}  # turbo asserts more than 5; only the first 15 s are used
_TOKENS = 1000  # generate()'s own cap
_OTHER_NAMES = {"[throat]": "[clear throat]", "[clear throat]": "[throat]"}
_TAGS = ("[laugh]", "[chuckle]", "[sigh]", "[cough]", "[throat]", "[clear throat]", "[sneeze]", "[sniff]")


class ChatterboxBackend:
    """The adapter. `turbo`: that model, or the standard one; `model`: a folder or a hub id, default: the author's.

    `max_voices`: so many cloned ones are kept in memory.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        turbo: bool = True,
        model: str = "",
        max_voices: int = 32,
        progress: Callable[[str], None] = print,
    ) -> None:
        folder = locate(model or _HUB[turbo], _PATTERNS, _FILES[turbo], progress)
        progress("reading weights")
        self._engine: Any = _engine_class(turbo).from_local(folder, device)
        if turbo:
            self._engine.norm_loudness = _in_single_precision(self._engine.norm_loudness)
        self._turbo = turbo
        self._built_in = self._engine.conds
        self._voices: OrderedDict[str, Any] = OrderedDict()
        self._max_voices = max_voices
        self._cleaner = _cleaner(self._engine.tokenizer, turbo)
        self.device = device
        self.sample_rate = int(self._engine.sr)

    @staticmethod
    def fetch(options: Dict[str, Any], report: Callable[[str], None]) -> None:
        """Download the model ahead, where it is one of the hub."""
        turbo = bool(options.get("turbo", True))
        locate(str(options.get("model") or _HUB[turbo]), _PATTERNS, _FILES[turbo], report)

    def voices(self) -> List[str]:
        return [BUILT_IN]

    def prepare_voice(self, voice: str, sample_path: str, transcript: str = "") -> None:
        """Learn a sample; its words are not needed."""
        if voice in self._voices:
            self._voices.move_to_end(voice)
            return
        _check_sample(sample_path, *_SAMPLE_S[self._turbo])
        self._engine.prepare_conditionals(sample_path)
        self._voices[voice] = self._engine.conds
        while len(self._voices) > self._max_voices:
            self._voices.popitem(last=False)

    def render(self, text: str, voice: str, *, seed: Optional[int] = None, **options: Any) -> Speech:
        unknown = [name for name in options if name not in _OPTIONS[self._turbo]]
        if unknown:
            raise BackendError("bad_option", f"this model of Chatterbox has no {', '.join(unknown)}")
        words = self._cleaner(text)
        if not re.search(r"[A-Za-z0-9]", words):
            raise BackendError("bad_text", "there is nothing in this text that Chatterbox can say: it speaks English")
        chosen = zlib.crc32(voice.encode()) if seed is None else seed
        return self._speech(words, self._conditions(voice), chosen, options)

    def _conditions(self, voice: str) -> Any:
        conditions = self._built_in if voice == BUILT_IN else self._voices.get(voice)
        if conditions is None:
            why = "this model has no voice of its own" if voice == BUILT_IN else "this voice has no sample"
            raise BackendError("unknown_voice", f"{why}: Chatterbox speaks with the voice of a sample")
        return conditions

    def _speech(self, words: str, conditions: Any, seed: int, options: Dict[str, Any]) -> Speech:
        import torch

        steps = 0

        def call(put: Put) -> None:
            def step(*_: Any) -> None:
                nonlocal steps
                steps += 1
                put(NOTHING)

            hook = self._engine.t3.tfmr.register_forward_pre_hook(step)
            try:
                torch.manual_seed(seed)
                self._engine.conds = conditions
                put(self._engine.generate(words, **options).squeeze(0).float().numpy())
            finally:
                hook.remove()

        yield from pulled(call)
        return TRUNCATED if steps > _TOKENS else None


def _engine_class(turbo: bool) -> Any:
    """The class of the package, imported in a way that works without CUDA and without noise in the log."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    _spare_torchaudio_its_library()
    import perth

    if perth.PerthImplicitWatermarker is None:
        raise BackendError("bad_config", "perth has no watermarker: the environment needs setuptools below 81")
    if turbo:
        from chatterbox.tts_turbo import ChatterboxTurboTTS

        return ChatterboxTurboTTS
    from chatterbox.tts import ChatterboxTTS

    return ChatterboxTTS


def _in_single_precision(normalise: Callable[..., Any]) -> Callable[..., Any]:
    """Its factor has double precision, which numpy 2 hands on to the samples, and the model then refuses them."""
    return lambda samples, rate: normalise(samples, rate).astype("float32")


def _spare_torchaudio_its_library() -> None:
    """PyPI's links to one release of CUDA, and will not be imported beside another torch. What is used is Python."""
    name = "torchaudio._extension"
    module: Any = ModuleType(name)
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module.fail_if_no_align = lambda function: function
    sys.modules[name] = module


def _cleaner(tokenizer: Any, turbo: bool) -> Callable[[str], str]:
    """What takes out of a text the tokens that steer the model, and those tags that it does not have."""
    vocabulary = set(tokenizer.get_added_vocab() if turbo else tokenizer.tokenizer.get_vocab())
    tags = {tag for tag in _TAGS if turbo and tag in vocabulary}
    control = {token for token in vocabulary - tags if re.fullmatch(r"\[[^\]]+\]|<[^>]+>", token)}
    pattern = re.compile("|".join(map(re.escape, sorted({*control, *_TAGS} - tags, key=len, reverse=True))))

    def known(match: re.Match[str]) -> str:
        other = _OTHER_NAMES.get(match[0], "")
        return other if other in tags else " "

    return lambda text: " ".join(pattern.sub(known, text).split())


def _check_sample(path: str, shortest_s: float, longest_s: float) -> None:
    import soundfile

    try:
        seconds = soundfile.info(str(Path(path))).duration
    except soundfile.SoundFileError as error:
        raise BackendError("unknown_voice", "the sample of this voice cannot be read") from error
    if not shortest_s <= seconds <= longest_s:
        wanted = f"{shortest_s:g} to {longest_s:g} s"
        raise BackendError("unknown_voice", f"the sample of this voice lasts {seconds:.1f} s, and {wanted} are needed")
