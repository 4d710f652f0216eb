"""What the clients say, and the audio that the tone backend owes for it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from voice_server.backends.tone import tone_pcm
from voice_server.core.audio.pcm import Resampler
from voice_server.worker.pcm import to_pcm

NATIVE = 24_000
_VOICES = ("tone", "low", "high")
_SPEEDS = (0.8, 1.0, 1.0, 1.5)
_RATES = (NATIVE, NATIVE, NATIVE, 8_000, 16_000, 44_100, 48_000)
_VOCABULARY = (
    "the a this every silver small quiet bright river garden window letter morning engine harbour winter carries opens "
    "follows remembers answers keeps crosses under behind without beside again slowly today naïve café élan über "
    "mountain teacher violin market paper shadow yellow twelve thousand never always perhaps gently together"
)
_WORDS = _VOCABULARY.split()


@dataclass(frozen=True, slots=True)
class Manner:
    """How a text is to be spoken."""

    voice: str = "tone"
    speed: float = 1.0
    rate: int = NATIVE

    def owed(self, sentence: str) -> bytes:
        pcm = to_pcm(tone_pcm(sentence, self.voice, speed=self.speed))
        if self.rate == NATIVE:
            return pcm
        resampler = Resampler(NATIVE, self.rate)  # streamed equals one-shot, bit for bit
        return resampler.push(pcm) + resampler.flush()


def some_manner(dice: random.Random, most: int | None = None) -> Manner:
    """With a sample rate of at most so much."""
    rate = dice.choice(_RATES)
    return Manner(dice.choice(_VOICES), dice.choice(_SPEEDS), min(rate, most or rate))


def sentence(dice: random.Random) -> str:
    """One that no rule of splitting could cut otherwise."""
    words = [dice.choice(_WORDS) for _ in range(dice.randint(5, 12))]
    return " ".join(words).capitalize() + dice.choice(".!?")


def sentences(dice: random.Random, most: int = 4) -> list[str]:
    return [sentence(dice) for _ in range(dice.randint(1, most))]


def long_text(dice: random.Random) -> str:
    """Without a mark for longer than any engine can speak: the splitter has to cut it."""
    return " ".join(dice.choice(_WORDS) for _ in range(90)).capitalize() + "."


def tokens(dice: random.Random, text: str) -> list[str]:
    """Cut as a language model might."""
    cut, at = [], 0
    while at < len(text):
        size = dice.randint(1, 8)
        cut.append(text[at : at + size])
        at += size
    return cut
