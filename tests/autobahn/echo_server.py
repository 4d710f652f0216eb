"""What Autobahn talks to: an echo, behind the server class and the protocol that the gateway uses.

python -m tests.autobahn.echo_server PORT
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import replace

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from voice_server.core.limits import Limits
from voice_server.gateway.server import GatewayServer, bind

LARGEST = 16 * 2**20  # bytes of a message in the suite
LIMITS = replace(Limits(), text=replace(Limits().text, message_bytes=LARGEST))


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with suppress(WebSocketDisconnect):
        while (message := await websocket.receive())["type"] != "websocket.disconnect":
            await websocket.send({**message, "type": "websocket.send"})


class _NoHouse:
    """There is nobody in it."""

    is_evicted = is_draining = False
    is_empty = True

    def drain(self) -> None: ...

    def evict(self) -> None: ...


async def serve(port: int) -> None:
    server = GatewayServer(_NoHouse(), Starlette(routes=[WebSocketRoute("/", echo)]), LIMITS)  # type: ignore[arg-type]
    await server.serve([bind("127.0.0.1", port, LIMITS)])


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
