"""Who writes the answers of POST /chat: a language model behind an OpenAI-compatible API, or an echo without one.

Promises: the key of the model goes to the model and nowhere else; an answer that cannot begin is an error before its
first token; one that nobody waits for any more is broken off at the model, too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

import httpx

from voice_server.core.doors import chat_protocol as protocol
from voice_server.core.doors.chat_protocol import Message, ModelSettings
from voice_server.core.errors import ModelFailed, Overloaded
from voice_server.core.limits import ChatLimits

_log = logging.getLogger(__name__)


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


class LanguageModel:
    def __init__(self, settings: ModelSettings, client: httpx.AsyncClient, limits: ChatLimits) -> None:
        self.name = settings.name
        self._settings = settings
        self._client = client
        self._limits = limits

    async def begin(self, messages: Sequence[Message]) -> Answer:
        body = protocol.completion(self._settings, messages, self._limits)
        headers = {"authorization": f"Bearer {self._settings.key}"} if self._settings.key else {}
        request = self._client.build_request("POST", self._settings.url, json=body, headers=headers)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.PoolTimeout:
            raise Overloaded("the language model is busy with other answers; try again in a few seconds") from None
        except httpx.HTTPError as problem:
            raise self._problem(problem) from None
        if response.status_code != httpx.codes.OK:
            await self._refuse(response)
        return _Written(response, self)

    async def _refuse(self, response: httpx.Response) -> None:
        try:
            told = await anext(response.aiter_bytes(self._limits.logged_bytes), b"")
        except httpx.HTTPError:
            told = b""
        finally:
            await response.aclose()
        _log.warning("the language model answered %s: %r", response.status_code, told.decode(errors="replace"))
        raise protocol.refusal(response.status_code)

    async def tokens(self, response: httpx.Response) -> AsyncGenerator[str, None]:
        chars = 0
        try:
            async for line in response.aiter_lines():
                if protocol.is_last(line) or chars > self._limits.answer_chars:
                    return
                if token := protocol.token_of(line):
                    chars += len(token)
                    yield token
        except httpx.HTTPError as problem:
            raise self._problem(problem) from None

    def _problem(self, problem: httpx.HTTPError) -> ModelFailed:
        _log.warning("the language model: %r", problem)
        if isinstance(problem, httpx.ReadTimeout):
            return ModelFailed(f"the language model wrote nothing for {self._limits.token_s:g} s")
        if isinstance(problem, (httpx.ConnectError, httpx.ConnectTimeout)):
            return ModelFailed("the language model cannot be reached; does it run, and is LLM_BASE_URL right?")
        return ModelFailed("the connection to the language model broke")


class _Written:
    """An answer of a model, on its way."""

    def __init__(self, response: httpx.Response, model: LanguageModel) -> None:
        self._response = response
        self._tokens = model.tokens(response)

    def __aiter__(self) -> AsyncIterator[str]:
        return self._tokens

    async def aclose(self) -> None:
        await self._tokens.aclose()
        await self._response.aclose()


@asynccontextmanager
async def open_writer(settings: ModelSettings | None, limits: ChatLimits) -> AsyncIterator[Writer]:
    if settings is None:
        yield Echo()
        return
    patience = httpx.Timeout(limits.connect_s, read=limits.token_s, pool=limits.wait_s)
    seats = httpx.Limits(max_connections=limits.at_once)
    async with httpx.AsyncClient(timeout=patience, limits=seats) as client:  # redirects are not followed: the key stays
        yield LanguageModel(settings, client, limits)
