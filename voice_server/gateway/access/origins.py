"""Web pages that may not come in: those from elsewhere, and those for which a foreign name leads here.

A browser lets every page connect to every server, and says only which page it was (`Origin`). And a page may own a
name, let it lead to this machine, and so be "from here" (DNS rebinding): only the name in `Host` tells. Programs send
no Origin and are not asked for one.

Promises: an Origin is that of the server as the client calls it, or one that its operator named; a Host that others
could make lead here opens nothing where no token protects the server, or where its operator said which names it has.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from voice_server.core.errors import ForeignOrigin, UnknownHost

_ALL = "*"
_PORTS = {"http": "80", "https": "443"}
_SHAPE = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\s\[\]:/?#@\\]+)(?::(?P<port>[0-9]{1,5}))?")
# Ends of names that the public DNS does not know, so which no stranger makes them lead anywhere (RFC 6761, 6762, 8375).
_PRIVATE = ("localhost", "local", "internal", "home.arpa")


@dataclass(frozen=True, slots=True)
class Origins:
    """What a server lets in."""

    named: frozenset[str] = frozenset()  # origins of pages; "*" is all of them
    hosts: frozenset[str] = frozenset()  # names of this server, as its operator says
    bound: str = ""  # the host that it was told to listen on

    @classmethod
    def of(cls, named: Iterable[str] = (), hosts: Iterable[str] = (), bound: str = "") -> Origins:
        return cls(frozenset(one.rstrip("/").lower() for one in named), frozenset(map(_plain, hosts)), _plain(bound))

    def check(self, host: str, origin: str | None, *, is_guarded: bool) -> None:
        """Raises UnknownHost and ForeignOrigin. `host` is "" where a client said none, which no browser does."""
        if host and not self._is_ours(host, is_guarded):
            raise UnknownHost("this server does not know itself by that name: its operator adds it with --host-name")
        if origin is not None and not self._is_welcome(origin.lower(), host):
            raise ForeignOrigin("pages from there may not use this server: its operator adds them with --cors")

    def _is_ours(self, host: str, is_guarded: bool) -> bool:
        found = _SHAPE.fullmatch(host.lower())
        if not found:
            return False
        name = _plain(found["name"])
        return (is_guarded and not self.hosts) or name in (*self.hosts, self.bound) or not _is_public(name)

    def _is_welcome(self, origin: str, host: str) -> bool:
        if _ALL in self.named or origin in self.named:
            return True
        try:
            page = urlsplit(origin)
        except ValueError:
            return False
        return page.scheme in _PORTS and (
            _address(page.netloc, page.scheme) == _address(host, page.scheme) or page.hostname in self.hosts
        )


def _is_public(name: str) -> bool:
    """Whether somebody on the internet could own it. Addresses and names without a dot are not."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." in name and not name.endswith(tuple(f".{end}" for end in _PRIVATE))
    return False


def _address(host: str, scheme: str) -> tuple[str, str] | None:
    found = _SHAPE.fullmatch(host.lower())
    return (_plain(found["name"]), found["port"] or _PORTS[scheme]) if found else None


def _plain(name: str) -> str:
    return name.lower().strip("[]").rstrip(".")
