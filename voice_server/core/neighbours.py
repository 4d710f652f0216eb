"""The machines around a gateway, as its operator names them: other gateways beside it, and proxies before it."""

from __future__ import annotations

import ipaddress
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")  # as that of a pod or of a server of HAProxy, without dots


def parse_name(text: str) -> str:
    """Of one gateway among several. Raises ValueError with what would be right."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no name of a gateway: up to 63 letters, digits, - and _, as in gateway-1")
    return text


def parse_proxy(text: str) -> str:
    """The address of a proxy, or a network of them. Raises ValueError with what would be right."""
    try:
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(f"{text[:80]!r} is not an address or a network, as in 10.0.0.7 or 10.0.0.0/24") from None
