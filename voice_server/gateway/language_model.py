"""A language model behind an OpenAI-compatible API. Only main.py imports this, and only where a model is named.

Promises: the key of the model goes to the model and nowhere else; an answer that cannot begin is an error before its
first token; one that nobody waits for any more is broken off at the model, too.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx

from voice_server.core.doors import chat_protocol as protocol
from voice_server.core.doors.chat_protocol import Message, ModelSettings
from voice_server.core.doors.limits import ChatLimits
from voice_server.core.errors import ModelFailed, Overloaded
from voice_server.gateway.llm import Answer

_log = logging.getLogger(__name__)


@asynccontextmanager
async def connected(settings: ModelSettings, limits: ChatLimits) -> AsyncIterator[LanguageModel]:
    """Redirects are not followed: the key stays where the operator sent it."""
    patience = httpx.Timeout(limits.connect_s, read=limits.token_s, pool=limits.wait_s)
    seats = httpx.Limits(max_connections=limits.at_once)
    async with httpx.AsyncClient(timeout=patience, limits=seats) as client:
        yield LanguageModel(settings, client, limits)


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
