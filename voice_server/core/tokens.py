"""Tokens as a server knows them: by the name of their owner and their SHA-256, never themselves.

Promises: a key is compared as the digest of its bytes and in constant time, with every token there is, so that neither
its text nor its place in the table shows in how long that takes. Nothing else in the gateway compares tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

from voice_server.core.limits import AccessLimits

# A name stands where an address stands for a client without one, so it must not look like one: a letter comes first,
# and no colon.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(r"(?P<name>\S+)[ \t]+sha256:(?P<digest>[0-9A-Fa-f]{64})")
_NAME_RULE = "a name is a letter and then up to 63 letters, digits and ._-"


class BadTokens(Exception):
    """What is wrong with a table of tokens, and in which line; never a word of what stands there."""


@dataclass(frozen=True, slots=True)
class KnownToken:
    name: str  # of its owner; "" is that of the one token that has none
    digest: bytes


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def line(name: str, token: str) -> str:
    """Of the table, for this token. Raises BadTokens."""
    _check_name(name, "")
    return f"{name} sha256:{digest(token).hex()}"


def parse(text: str, limits: AccessLimits) -> tuple[KnownToken, ...]:
    """The table: `NAME sha256:HEX` in each line, of which `#` begins a comment. Raises BadTokens.

    Two lines may have one name: so a token is replaced while the old one is still in use. A table without any token is
    taken for a mistake, as of an editor that has not finished writing.
    """
    lines = ((number, whole.partition("#")[0].strip()) for number, whole in enumerate(text.splitlines(), start=1))
    known = tuple(_known(said, number) for number, said in lines if said)
    if not known:
        raise BadTokens("there is no token in it: add one with `python -m voice_server token NAME`")
    if len(known) > limits.tokens:
        raise BadTokens(f"there are more than {limits.tokens} tokens in it")
    return known


def owner(keys: Iterable[str], known: Iterable[KnownToken]) -> str | None:
    """Whose token one of these keys is; None when it is nobody's."""
    shown = [digest(key) for key in keys]
    owners = [token.name for token in known for key in shown if hmac.compare_digest(key, token.digest)]
    return owners[0] if owners else None


def _known(said: str, number: int) -> KnownToken:
    found = _LINE.fullmatch(said)
    if not found:
        raise BadTokens(f"line {number} is not `NAME sha256:` and 64 hexadecimal digits")
    _check_name(found["name"], f"line {number}: ")
    return KnownToken(found["name"], bytes.fromhex(found["digest"]))


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadTokens(f"{where}{_NAME_RULE}")
