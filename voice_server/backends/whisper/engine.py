"""faster-whisper 1.2.1, read one window at a time: the words of up to 25 s of speech, each with its times.

Its `transcribe` is for whole files. Here one window is encoded and decoded once, greedily, after the words that are
certain already: they cost no time again, cannot change, and the cost of a reading is bounded whatever was said before.

Facts, measured with tiny.en and base on a CPU: the encoder also takes less than the 30 s it was trained with, and costs
a fifth for 10 s, with the same words as long as seconds of silence follow them; what `generate` gives begins with the
words that the prompt held behind its last control token.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from numpy.typing import NDArray

from voice_server.backends.whisper.agreement import Word
from voice_server.backends.whisper.segments import RATE

AUTO = "auto"
_UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")  # languages without spaces between words
_CLEAR = (
    0.8  # likelihood of a language; with less, a window of full length is asked: a short one takes "no" for Japanese
)
_SURE = 0.5  # else it is the language before
_MEL_PER_S = 100
_PADDING = 500  # mel frames of silence behind the speech; with 200 of 500 in all, tiny.en repeated itself
_LEAST, _STEP, _FULL = 1000, 500, 3000  # mel frames of a window
_TOKENS, _TOKENS_PER_S = 448, 20  # at most; nobody speaks faster, but a model that repeats itself does
_NO_SPEECH, _UNLIKELY = 0.6, -1.0  # whisper's own rule for sounds that are no words
_REPETITIVE = 2.4  # how far a text can be compressed when the model repeats itself: whisper's own figure
_PREPENDED, _APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"


@dataclass(frozen=True)
class Reading:
    words: List[Word]  # those that follow the certain ones
    language: str


class Engine:
    def __init__(self, folder: Path, device: str) -> None:
        from faster_whisper import WhisperModel
        from faster_whisper.vad import get_vad_model

        self._is_cpu = device == "cpu"
        kind = "int8" if self._is_cpu else "float16"
        self._model: Any = WhisperModel(str(folder), device=device, compute_type=kind, cpu_threads=1)
        self._tokenizers: Dict[str, Tuple[Any, List[int]]] = {}
        known, vocabulary = self._model.supported_languages, self._model.hf_tokenizer
        self.languages: List[str] = [code for code in known if vocabulary.token_to_id(f"<|{code}|>") is not None]
        self.vad_session: Any = get_vad_model().session

    def read(
        self, samples: NDArray[np.float32], certain: Sequence[int], language: str, before: str, prompt: str
    ) -> Reading:
        """`certain`: tokens of this utterance. `language`: a code, or AUTO; then `before` is spoken where it is hard to
        tell."""
        spectrum = self._model.feature_extractor(samples)
        encoded = self._model.encode(_padded(spectrum, self._is_cpu))
        spoken = self._detect(spectrum, encoded, before) if language == AUTO else language
        tokenizer, suppressed = self._tokenizer(spoken)
        tokens = self._decode(encoded, tokenizer, suppressed, certain, prompt, len(samples) / RATE)
        words: List[Word] = []
        if len(tokens) > len(certain):
            found = self._model.find_alignment(tokenizer, [tokens], encoded, min(spectrum.shape[1], _FULL))
            words = _after(found[0], len(certain), tokenizer)
        if words and not certain and spoken not in _UNSPACED:
            words[0] = replace(words[0], text=" " + words[0].text.lstrip())
        return Reading(words, spoken)

    def _tokenizer(self, language: str) -> Tuple[Any, List[int]]:
        from faster_whisper.tokenizer import Tokenizer
        from faster_whisper.transcribe import get_suppressed_tokens

        if language not in self._tokenizers:
            many = self._model.model.is_multilingual
            made = Tokenizer(self._model.hf_tokenizer, many, task="transcribe", language=language)
            self._tokenizers[language] = made, list(get_suppressed_tokens(made, [-1]))
        return self._tokenizers[language]

    def _detect(self, spectrum: NDArray[np.float32], encoded: Any, before: str) -> str:
        if not self._model.model.is_multilingual:
            return self.languages[0]
        token, likelihood = self._model.model.detect_language(encoded)[0][0]
        if likelihood < _CLEAR:
            encoded = self._model.encode(_padded(spectrum, False))
            token, likelihood = self._model.model.detect_language(encoded)[0][0]
        return str(token[2:-2]) if likelihood >= _SURE or not before else before

    def _decode(
        self, encoded: Any, tokenizer: Any, suppressed: List[int], certain: Sequence[int], prompt: str, seconds: float
    ) -> List[int]:
        """The certain tokens and those that follow."""
        hint = [tokenizer.sot_prev, *tokenizer.encode(" " + prompt.strip())[: _TOKENS // 2 - 1]] if prompt else []
        start = [*hint, *tokenizer.sot_sequence, tokenizer.no_timestamps, *certain]
        longest = min(_TOKENS, len(start) + int(seconds * _TOKENS_PER_S) + _TOKENS_PER_S)
        tokens: List[int] = []
        for repeats in (0, 3):  # a model that repeats itself is asked again, with repetition forbidden
            told = self._generate(encoded, start, longest, suppressed, repeats)
            tokens = [token for token in told.sequences_ids[0] if token < tokenizer.eot]
            if told.no_speech_prob > _NO_SPEECH and told.scores[0] < _UNLIKELY:
                return list(certain)
            if not _is_repetitive(tokenizer.decode(tokens)):
                break
        return tokens

    def _generate(self, encoded: Any, start: List[int], longest: int, suppressed: List[int], repeats: int) -> Any:
        return self._model.model.generate(
            encoded,
            [start],
            beam_size=1,
            max_length=longest,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=suppressed,
            no_repeat_ngram_size=repeats,
        )[0]


def _padded(spectrum: NDArray[np.float32], may_be_short: bool) -> NDArray[np.float32]:
    length = spectrum.shape[1] + _PADDING
    size = min(_FULL, max(_LEAST, -(-length // _STEP) * _STEP)) if may_be_short else _FULL
    spectrum = spectrum[:, :size]
    return np.pad(spectrum, [(0, 0), (0, size - spectrum.shape[1])])


def _is_repetitive(text: str) -> bool:
    raw = text.encode()
    return len(raw) > _TOKENS_PER_S and len(raw) / len(zlib.compress(raw)) > _REPETITIVE


def _after(found: List[Dict[str, Any]], certain: int, tokenizer: Any) -> List[Word]:
    """The words behind the first `certain` tokens. One may begin in the middle of what the aligner takes for a word."""
    from faster_whisper.transcribe import merge_punctuations

    rest = []
    for word in found:
        tokens = word["tokens"][certain:]
        certain = max(0, certain - len(word["tokens"]))
        if tokens:
            text = word["word"] if len(tokens) == len(word["tokens"]) else tokenizer.decode(tokens)
            rest.append({**word, "tokens": tokens, "word": text})
    merge_punctuations(rest, _PREPENDED, _APPENDED)
    return [
        Word(word["word"], tuple(word["tokens"]), float(word["start"]), float(word["end"]))
        for word in rest
        if word["word"]
    ]
