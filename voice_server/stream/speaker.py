"""Who speaks an answer, and how: what the client chose, the voice that its first words describe, a seed."""

from __future__ import annotations

import random
import zlib
from typing import Any

from voice_server.core.errors import UnknownVoice
from voice_server.core.text.descriptions import take_description
from voice_server.pool.dispatcher import RenderRequest
from voice_server.stream.backend import Backend

_SEED_MASK = 2**31 - 1  # a seed of 31 bits fits every engine


class Speaker:
    """Of one stream. What is chosen counts for every sentence that has not started to render."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._voice = ""  # as the client named it
        self._defaults = backend.default_options
        self._options = backend.validate_options(self._defaults)
        self._seed = random.getrandbits(31)
        self._design = ""  # the voice that the answer's own first words describe

    def set_voice(self, name: str) -> None:
        """Raises UnknownVoice."""
        self._backend.resolve_voice(name)
        self._voice = name

    def set_options(self, values: dict[str, Any]) -> None:
        """Raises BadOption."""
        self._options = self._backend.validate_options({**self._defaults, **values})

    @property
    def voice(self) -> str:
        try:
            return self._backend.resolve_voice(self._voice)
        except UnknownVoice:
            return self._voice  # set before the engine told its voices: it will refuse this one itself

    def begin_answer(self) -> None:
        self._design = ""

    def without_description(self, piece: str) -> str:
        """What is to be spoken of an answer's first sentence."""
        if "design" in self._options or not self._can_design():
            return piece
        self._design, words = take_description(piece)
        return words

    def request(self, spoken: str) -> RenderRequest:
        """With the voice and options of this moment."""
        options = {**self._answer_options(), **self._options}
        is_designed = options.get("design") and not self._voice  # only a voice that was named would contradict
        return self._backend.request(spoken, "" if is_designed else self.voice, options)

    def _can_design(self) -> bool:
        return self._backend.can_design(self._voice and self.voice)

    def _answer_options(self) -> dict[str, Any]:
        """What the client may set, and otherwise stays the same from sentence to sentence: an engine that draws its
        voice at random draws the same one for all of this stream, and a described one speaks the whole answer."""
        options: dict[str, Any] = {}
        if "seed" in self._backend.config.opts:
            options["seed"] = self._seed ^ zlib.crc32(self.voice.encode()) & _SEED_MASK
        if self._design and self._can_design():
            options["design"] = self._design
        return options
