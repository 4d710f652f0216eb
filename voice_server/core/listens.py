"""More ports: what `--listen NAME=HOST:PORT` means."""

from __future__ import annotations

import re
from dataclasses import dataclass

HTTP, VOXCPM, WYOMING = "http", "voxcpm", "wyoming"
NAMES = (HTTP, VOXCPM, WYOMING)
_SHAPE = re.compile(r"(?P<name>\w+)=(?:\[(?P<ipv6>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Listen:
    name: str  # which clients the port is for: one of NAMES
    host: str
    port: int  # 0: any that is free

    def __str__(self) -> str:
        return f"{self.name}={address(self.host, self.port)}"


def parse(text: str) -> Listen:
    """Raises ValueError with what would be right."""
    found = _SHAPE.fullmatch(text)
    if not found or int(found["port"]) > _HIGHEST_PORT:
        raise ValueError(f"{text!r} is not NAME=HOST:PORT, as in voxcpm=127.0.0.1:9300 or wyoming=[::1]:10200")
    if found["name"] not in NAMES:
        raise ValueError(f"there are no ports for {found['name']}; known are {', '.join(NAMES)}")
    return Listen(found["name"], found["ipv6"] or found["host"], int(found["port"]))


def address(host: str, port: int) -> str:
    """As it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
