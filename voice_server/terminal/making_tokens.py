"""`token`: a new one for somebody, shown once."""

from __future__ import annotations

import secrets
import sys

from voice_server.core import tokens

_BYTES = 32  # nobody guesses 256 bits


def make_token(name: str) -> int:
    """Its line goes to standard output, so that `>> FILE` adds it; the token itself to standard error, for a person.

    Raises BadTokens.
    """
    token = secrets.token_urlsafe(_BYTES)
    print(tokens.line(name, token))
    print(f"the token of {name}, which is shown once and kept nowhere:\n{token}", file=sys.stderr)
    return 0
