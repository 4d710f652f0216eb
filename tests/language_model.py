"""A small language model of its own: a real server on a real port that streams chat completions as OpenAI does."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.harness import wait_until

KEY = "sk-of-the-operator"


@dataclass
class Model:
    """`tokens` are what it answers, `pace_s` apart; `status` is a refusal; `breaks` cuts the connection at the end."""

    tokens: list[str] = field(default_factory=lambda: ["The ", "kettle ", "is ", "on."])
    pace_s: float = 0.0
    status: int = 200
    breaks: bool = False
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    broken_off: int = 0  # answers that nobody read to their end

    @property
    def environ(self) -> dict[str, str]:
        return {"LLM_BASE_URL": f"http://127.0.0.1:{self.port}/v1", "LLM_MODEL": "kettle-1", "LLM_API_KEY": KEY}

    async def complete(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("authorization", ""))
        if self.status != 200:
            return PlainTextResponse(f"no, {KEY}", self.status)
        return StreamingResponse(self._lines(), media_type="text/event-stream")

    async def _lines(self) -> AsyncIterator[str]:
        try:
            for token in self.tokens:
                yield f"data: {json.dumps({'choices': [{'delta': {'content': token}}]})}\n\n"
                await asyncio.sleep(self.pace_s)
            if self.breaks:
                raise ConnectionError
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.broken_off += 1
            raise


@contextmanager
def language_model(**how: Any) -> Iterator[Model]:
    model = Model(**how)
    app = Starlette(routes=[Route("/v1/chat/completions", model.complete, methods=["POST"])])
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, loop="asyncio", log_level="critical", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the language model listens")
        model.port = server.servers[0].sockets[0].getsockname()[1]
        yield model
    finally:
        server.should_exit = True
        thread.join()
