"""What a port of its own changes: clients of the VoxCPM TTS server also find their door at WS `/`."""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

_THEIR_DOOR = "/tts"


class VoxcpmPortMiddleware:
    """On these ports WS `/` is WS `/tts`. All other doors are where they are on every port."""

    def __init__(self, app: ASGIApp, ports: Collection[int]) -> None:
        self._app = app
        self._ports = frozenset(ports)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/" and _port(scope) in self._ports:
            scope = {**scope, "path": _THEIR_DOOR, "raw_path": _THEIR_DOOR.encode()}
        await self._app(scope, receive, send)


def _port(scope: Scope) -> int | None:
    """That the client connected to, whatever its Host header says."""
    return scope["server"][1] if scope.get("server") else None
