"""TLS on the ports of the gateway.

Promises: what is wrong with the files is said before anything starts, and a locked key is not waited for; a renewed
certificate is that of the next connection, and one that does not load leaves the old one in use.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

from voice_server.core.limits import AccessLimits
from voice_server.gateway.access.files import Watch

_LIMITS = AccessLimits()
_REASONS = {
    "KEY_VALUES_MISMATCH": "the key is not that of the certificate",
    "NO_START_LINE": "there is no PEM in it",
}
_log = logging.getLogger(__name__)


class BadCertificate(Exception):
    """Its message is for the operator."""


class Certificate:
    """Of the server; `context` is what it listens with. Raises BadCertificate."""

    def __init__(self, certificate: Path, key: Path, limits: AccessLimits = _LIMITS) -> None:
        self._certificate = certificate
        self._key = key
        self._watch = Watch(certificate, key, every_s=limits.look_s)
        self._latest = self.context = self._load()
        self.context.sni_callback = self._on_hello

    def _on_hello(self, connection: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """OpenSSL asks here in each handshake, also of clients that name no server, before it shows a certificate."""
        if self._watch.has_changed():
            self._renew()
        connection.context = self._latest

    def _renew(self) -> None:
        try:
            self._latest = self._load()
        except BadCertificate as problem:
            _log.error("the certificate is that from before: %s", problem)
        else:
            _log.warning("the certificate was read again from %s", self._certificate)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (OSError, _Locked) as error:  # SSLError is one
            raise BadCertificate(f"cannot use {self._certificate} with {self._key}: {_reason(error)}") from None
        return context


class _Locked(Exception):
    pass


def _no_password() -> str:
    """OpenSSL would ask for it on the terminal."""
    raise _Locked


def _reason(error: Exception) -> str:
    if isinstance(error, _Locked):
        return "the key is locked by a password: unlock it, as with `openssl pkey`"
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason or "", "one of them is no PEM file of that kind")
    assert isinstance(error, OSError)
    return error.strerror or "one of them cannot be read"
