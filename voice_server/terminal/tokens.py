"""The words that go in: where the text comes from, how a model would stream it, and the options said with it.

Pure but for `read_text`. Every way of cutting a text gives back the same text when its parts are joined.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from voice_server.core.limits import TextLimits

Option = bool | int | float | str

# About what a tokenizer of a language model gives: a short piece of a word with the space before it.
_TOKEN = re.compile(r"\s?\w{1,6}|\s?[^\w\s]|\s")
_BOOL_WORDS = {"true": True, "yes": True, "false": False, "no": False}


def split_tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


def split_pieces(text: str, piece_chars: int = TextLimits().token_chars) -> list[str]:
    """The text as few tokens as the server takes."""
    return [text[start : start + piece_chars] for start in range(0, len(text), piece_chars)]


def read_text(text: str | None, file: Path | None, stdin: TextIO) -> str | None:
    """What `--text`, `--text -` or `--text-file` name; None when nothing was named. Raises OSError."""
    if file is not None:
        return file.read_text(encoding="utf-8", errors="replace")
    if text == "-":
        return stdin.read()
    # The shell may hand over bytes that are no UTF-8; JSON cannot carry them.
    return None if text is None else text.encode(errors="replace").decode()


def parse_options(pairs: Iterable[str]) -> dict[str, Option]:
    return dict(map(parse_option, pairs))


def parse_option(pair: str) -> tuple[str, Option]:
    """`key=value`, or a bare `key` for true. Raises ValueError when there is no key."""
    key, equals, value = pair.partition("=")
    if not key.strip():
        raise ValueError(f"an option is written key=value, not {pair!r}")
    return key.strip(), parse_value(value.strip()) if equals else True


def parse_value(word: str) -> Option:
    """A float when it has a point, else an int, else a truth word, else the word itself."""
    number = _number(word)
    return _BOOL_WORDS.get(word.lower(), word) if number is None else number


def _number(word: str) -> int | float | None:
    try:
        number = float(word) if "." in word else int(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None  # JSON has no infinity
