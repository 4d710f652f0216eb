"""Sentences that were rendered before, kept in memory: a greeting is spoken at once the second time.

Promises: never more than its bytes, the key and Python's own objects counted; what was asked for longest ago goes
first; a sentence is found only for the same text, voice, options and voice sample. Whether a second rendering would be
the same is not its business: only a deterministic engine's audio may be kept.
"""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from voice_server.core.limits import RepeatLimits

_DEFAULTS = RepeatLimits()
_CHAR_BYTES = 4  # the most that a character takes in a Python string


@dataclass(frozen=True, slots=True)
class RepeatKey:
    """All that decides how a deterministic engine speaks a sentence."""

    text: str
    voice: str
    options: str  # in canonical form
    sample: str

    @classmethod
    def of(cls, text: str, voice: str, options: Mapping[str, Any], sample: Mapping[str, str]) -> RepeatKey:
        return cls(text, voice, _canonical(options), _canonical(sample))

    @property
    def chars(self) -> int:
        return len(self.text) + len(self.voice) + len(self.options) + len(self.sample)


def _canonical(values: Mapping[str, Any]) -> str:
    """1, 1.0 and True differ: an engine may tell them apart."""
    return json.dumps(values, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Repeat:
    """A whole sentence, at the engine's own rate."""

    pcm: tuple[bytes, ...]  # the chunks in which the engine gave it
    truncated: bool  # the engine hit its length cap


class Repeats:
    def __init__(self, max_bytes: int, limits: RepeatLimits = _DEFAULTS) -> None:
        self._max_bytes = max_bytes
        self._limits = limits
        self._kept: OrderedDict[RepeatKey, Repeat] = OrderedDict()  # what was asked for last is last
        self.bytes = 0  # of memory that is taken

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: RepeatKey) -> Repeat | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def keep(self, key: RepeatKey, pcm: Iterable[bytes], truncated: bool) -> bool:
        """Whether it was kept: a sentence that would take too much of the cache is not."""
        repeat = Repeat(tuple(pcm), truncated)
        if self._size(key, repeat) > self._limits.largest_share * self._max_bytes:
            return False
        self._drop(key)
        self._kept[key] = repeat
        self.bytes += self._size(key, repeat)
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))
        return True

    def _drop(self, key: RepeatKey) -> None:
        if repeat := self._kept.pop(key, None):
            self.bytes -= self._size(key, repeat)

    def _size(self, key: RepeatKey, repeat: Repeat) -> int:
        return sum(map(sys.getsizeof, repeat.pcm)) + _CHAR_BYTES * key.chars + self._limits.entry_bytes
