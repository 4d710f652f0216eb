"""The JSON body of a request: read up to a limit, and exactly of the type that a door asks for."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import msgspec
from starlette.requests import Request

from voice_server.core.errors import BadMessage, SlowClient, TextTooLong
from voice_server.core.limits import TextLimits

Body = TypeVar("Body")


async def read_body(request: Request, kind: type[Body], limits: TextLimits) -> Body:
    """Raises BadMessage, TextTooLong, SlowClient, and ClientDisconnect."""
    try:
        body = await asyncio.wait_for(_read(request, limits.body_bytes), limits.body_s)
    except asyncio.TimeoutError:
        raise SlowClient(f"the request took longer than {limits.body_s:g} s; send it on a faster line") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (ValueError, RecursionError) as problem:
        what = str(problem) if isinstance(problem, msgspec.ValidationError) else "the body is one JSON object"
        raise BadMessage(what) from None


async def _read(request: Request, most: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise TextTooLong(f"a request has at most {most} bytes")
    return bytes(body)
