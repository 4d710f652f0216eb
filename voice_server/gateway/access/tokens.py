"""Whose key is that: the one token of VOICE_SERVER_TOKEN, and a file of named ones that is read again when it changes.

Promises: a file that has become wrong changes nothing, and the log says once what is wrong with it; a token that is
taken out of it opens nothing any more within a second. What was opened with it before is not closed.
"""

from __future__ import annotations

import logging
from pathlib import Path

from voice_server.core.limits import AccessLimits
from voice_server.core.tokens import BadTokens, KnownToken, digest, owner, parse
from voice_server.gateway.access.files import Watch

_LIMITS = AccessLimits()
_log = logging.getLogger(__name__)


class TokenFile:
    """Raises BadTokens when the file is wrong from the start."""

    def __init__(self, path: Path, limits: AccessLimits = _LIMITS) -> None:
        self._path = path
        self._limits = limits
        self._watch = Watch(path, every_s=limits.look_s)
        self._known = self._read()

    @property
    def known(self) -> tuple[KnownToken, ...]:
        if self._watch.has_changed():
            self._read_again()
        return self._known

    def _read_again(self) -> None:
        try:
            self._known = self._read()
        except BadTokens as problem:
            _log.error("the tokens are those from before: %s", problem)
        else:
            _log.warning("%d tokens were read from %s", len(self._known), self._path)

    def _read(self) -> tuple[KnownToken, ...]:
        try:
            with self._path.open("rb") as file:
                data = file.read(self._limits.table_bytes + 1)
            if len(data) > self._limits.table_bytes:
                raise BadTokens(f"it has more than {self._limits.table_bytes} bytes")
            return parse(data.decode(), self._limits)
        except OSError as error:
            raise BadTokens(f"{self._path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise BadTokens(f"{self._path}: it is not UTF-8") from None
        except BadTokens as problem:
            raise BadTokens(f"{self._path}: {problem}") from None


class Tokens:
    """All that open this server; none at all is a server that is open to everybody."""

    def __init__(self, token: str = "", file: TokenFile | None = None) -> None:
        self._nameless = (KnownToken("", digest(token)),) if token else ()
        self._file = file

    @property
    def are_wanted(self) -> bool:
        return bool(self._nameless) or self._file is not None

    def owner(self, *keys: str) -> str | None:
        """The name of whose token one of them is, "" of the nameless one; None when it is nobody's."""
        return owner(keys, self._known)

    @property
    def _known(self) -> tuple[KnownToken, ...]:
        return self._nameless + (self._file.known if self._file else ())
