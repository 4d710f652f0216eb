"""One question to a running server over HTTP, and its answer as a type; what goes wrong is a line for a person."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from typing import TypeVar

import msgspec

from voice_server.core.limits import TerminalLimits
from voice_server.terminal.session import HINTS, UNTRUSTED, CannotConnect

Told = TypeVar("Told")

_LIMITS = TerminalLimits()


def ask(
    url: str, path: str, kind: type[Told], token: str, limits: TerminalLimits = _LIMITS, method: str = "GET"
) -> Told:
    """The answer of `path`. Raises CannotConnect, whose message a person can act on."""
    if not url.startswith(("http://", "https://")):
        raise CannotConnect(f"{url} is no address of a server: it starts with http:// or https://")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url.rstrip("/") + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=limits.status_s) as response:
            return msgspec.json.decode(response.read(), type=kind)
    except urllib.error.HTTPError as error:
        raise CannotConnect(_refusal(url, error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise CannotConnect(f"cannot reach {url}: {_reason(error)}; is the server running?") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise CannotConnect(f"{url} is no voice server, or one of another version") from error


def _refusal(url: str, error: urllib.error.HTTPError) -> str:
    """In the server's own words, where it has any and we have none."""
    hint = HINTS.get(error.code) or _words(error.read(_LIMITS.told_bytes))
    return f"{url} refused with HTTP {error.code}{hint}"


def _words(body: bytes) -> str:
    try:
        return f": {msgspec.json.decode(body)['error']['message']}"
    except (msgspec.DecodeError, ValueError, LookupError, TypeError):
        return ""


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UNTRUSTED
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else "no answer that could be read"
