"""What of a user's text may reach the tokenizer. Pure.

A tokenizer reads the names of its control tokens in ordinary text as those tokens: "<|audio_start|>" in a sentence
would switch the model to audio. So they are taken out, also where taking one out would make another.
"""

from __future__ import annotations

import re
from typing import Iterable, NamedTuple

from voice_server.worker.adapter import BackendError

_CONTROL = (r"<\|[^<>|]*\|>", r"</?s>", r"<unk>", r"<pad>")
_DESCRIPTION = re.compile(r"\s*\(([^()]{1,200})\)\s*(.*)", re.DOTALL)


class Described(NamedTuple):
    description: str  # "" where the text begins with none
    text: str


class Cleaner:
    """Takes out control tokens, whatever else the tokenizer holds special, line breaks and runs of blanks."""

    def __init__(self, special: Iterable[str] = ()) -> None:
        names = [re.escape(name) for name in sorted(special, key=len, reverse=True) if name.strip()]
        self._control = re.compile("|".join([*_CONTROL, *names]), re.IGNORECASE)

    def clean(self, text: str) -> str:
        whole = text.encode("utf-8", "ignore").decode()  # half of a surrogate pair cannot be tokenised
        while (less := self._control.sub(" ", whole)) != whole:
            whole = less
        return " ".join(whole.split())

    def speakable(self, text: str) -> str:
        """The clean text. Raises BackendError("bad_text") if there is nothing in it to speak: it would come out as
        noise, without any error."""
        cleaned = self.clean(text)
        if not any(character.isalnum() for character in cleaned):
            raise BackendError("bad_text", "there is no word in this text to speak")
        return cleaned


def split_description(text: str) -> Described:
    """The description in parentheses that a text may begin with, "(calm elderly man) Hello.", and the rest.

    A text that is nothing but parentheses is no description: there would be nothing to say.
    """
    match = _DESCRIPTION.match(text)
    if match is None or not any(character.isalnum() for character in match[2]):
        return Described("", text)
    return Described(match[1].strip(), match[2])
