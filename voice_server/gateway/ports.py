"""The ports of the house: all bound before anything starts, and what is different on some of them."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from voice_server.core.limits import Limits
from voice_server.core.listens import HTTP, VOXCPM, WYOMING, Listen, address
from voice_server.gateway.security import InsecureBind, check_bind
from voice_server.gateway.server import bind

_VOXCPM_DOOR = "/tts"


class CannotListen(Exception):
    """An address is taken, or not one of this machine."""


@dataclass(frozen=True, slots=True)
class Port:
    name: str  # of core.listens
    listener: socket.socket
    has_tls: bool = False

    @property
    def number(self) -> int:
        """The true one, where any was asked for."""
        return int(self.listener.getsockname()[1])

    @property
    def url(self) -> str:
        at = address(*self.listener.getsockname()[:2])
        s = "s" if self.has_tls else ""
        return {HTTP: f"http{s}://{at}", VOXCPM: f"ws{s}://{at}{_VOXCPM_DOOR}", WYOMING: f"tcp://{at}"}[self.name]


def check_listen(listen: Listen, *, is_guarded: bool, insecure: bool) -> None:
    """Raises InsecureBind. A token protects nothing where the protocol has no place for one."""
    try:
        check_bind(listen.host, is_guarded=is_guarded and listen.name != WYOMING, insecure=insecure)
    except InsecureBind as problem:
        why = "Wyoming has no tokens: say --insecure if all of that network may speak"
        raise InsecureBind(f"--listen {listen}: {why if listen.name == WYOMING else problem}") from None


def open_ports(main: Listen, others: Sequence[Listen], limits: Limits, *, tls: bool = False) -> list[Port]:
    """All of them, `main` first, or none. Raises CannotListen."""
    opened: list[Port] = []
    for listen in (main, *others):
        try:
            listener = bind(listen.host, listen.port, limits)
            opened.append(Port(listen.name, listener, has_tls=tls and listen.name != WYOMING))
        except OSError as error:
            for port in opened:
                port.listener.close()
            flag = "" if listen is main else f" (--listen {listen})"
            at = address(listen.host, listen.port)
            raise CannotListen(f"cannot listen on {at}{flag}: {error.strerror}") from None
    return opened


class VoxcpmPortMiddleware:
    """On these ports WS `/` is WS `/tts`: clients of the VoxCPM TTS server look there too."""

    def __init__(self, app: ASGIApp, ports: Collection[int]) -> None:
        self._app = app
        self._ports = frozenset(ports)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/" and _port_of(scope) in self._ports:
            scope.update(path=_VOXCPM_DOOR, raw_path=_VOXCPM_DOOR.encode())
        await self._app(scope, receive, send)


def _port_of(scope: Scope) -> int | None:
    """That the client connected to, whatever its Host header says."""
    return scope["server"][1] if scope.get("server") else None
