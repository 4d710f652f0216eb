"""Where a client may make this server fetch a file from: a URL as text, and an address as what its host resolved to.

Promises: a URL that passes means the same to everybody who reads it (HTTPS, a host by name, its usual port, no user);
an address that passes is no machine's own, no local network's, and no disguise of one. Whoever connects must check
every address that a host has, and connect to one of those that were checked: to ask the resolver again is to trust it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_address, ip_network

from voice_server.core.errors import BadOption

# Written out, because Python's own idea of `is_global` changes with its patch releases. From IANA's registries of
# special-purpose addresses.
_NOT_PUBLIC_V4 = tuple(
    map(
        ip_network,
        [
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
            *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ],
    )
)
_PUBLIC_V6 = ip_network("2000::/3")  # all that is given out: mapped IPv4, NAT64, local, multicast are elsewhere
_NOT_PUBLIC_V6 = tuple(map(ip_network, ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"]))  # tunnels, examples

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = rf"(?:{_LABEL}\.)+(?=[a-z]){_LABEL}"  # the last label begins with a letter: 127.1 and 0x7f.1 are addresses
_URL = re.compile(rf"https://(?P<host>{_HOST})(?::443)?(?P<path>/[!\"$-~]*)?(?P<query>\?[!\"$-~]*)?", re.IGNORECASE)
_HOST_CHARS = 253  # of a name in the DNS
_URL_CHARS = 2048  # what browsers and proxies pass on, signed addresses of object stores included


@dataclass(frozen=True, slots=True)
class FileUrl:
    host: str
    target: str  # path and query


def read_url(text: object) -> FileUrl:
    """Raises BadOption that says how it should look."""
    match = _URL.fullmatch(text) if isinstance(text, str) and len(text) <= _URL_CHARS else None
    if match is None or len(match["host"]) > _HOST_CHARS:
        raise BadOption(
            "it is to be https://HOST/PATH: a host by its name (in ASCII: xn--…), port 443, no user, no fragment"
        )
    return FileUrl(match["host"].lower(), (match["path"] or "/") + (match["query"] or ""))


def is_public(address: str) -> bool:
    """Whether this is the address of a machine on the public internet."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return found.is_global and not any(found in network for network in _NOT_PUBLIC_V4)
    if found.scope_id is not None or found not in _PUBLIC_V6:
        return False
    return found.is_global and not any(found in network for network in _NOT_PUBLIC_V6)
