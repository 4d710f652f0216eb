"""Who writes the answers of POST /chat: a language model where one is named, else an echo."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Protocol

from voice_server.core.doors.chat_protocol import Message


class Answer(Protocol):
    """Tokens as they are written. Iterating raises ModelFailed."""

    def __aiter__(self) -> AsyncIterator[str]: ...

    async def aclose(self) -> None:
        """Nobody wants more of it."""
        ...


class Writer(Protocol):
    @property
    def name(self) -> str:
        """Of the model; "" where there is none."""
        ...

    async def begin(self, messages: Sequence[Message]) -> Answer:
        """The answer to a conversation. Raises ModelFailed and Overloaded."""
        ...


class Echo:
    """Says back what was said last."""

    name = ""

    async def begin(self, messages: Sequence[Message]) -> Answer:
        return self._words(messages[-1].content)

    async def _words(self, text: str) -> AsyncGenerator[str, None]:
        for word in re.findall(r"\s*\S+\s*", text):
            yield word
