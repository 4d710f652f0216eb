"""The JSON body of a request: read up to a limit, and exactly of the type that a door asks for."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request

from voice_server.core.errors import BadMessage, TextTooLong
from voice_server.core.limits import TextLimits

Body = TypeVar("Body")


async def read_body(request: Request, kind: type[Body], limits: TextLimits) -> Body:
    """Raises BadMessage, TextTooLong, and ClientDisconnect."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limits.body_bytes:
            raise TextTooLong(f"a request has at most {limits.body_bytes} bytes")
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except (ValueError, RecursionError) as problem:
        what = str(problem) if isinstance(problem, msgspec.ValidationError) else "the body is one JSON object"
        raise BadMessage(what) from None
