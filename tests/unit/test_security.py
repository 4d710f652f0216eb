from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from voice_server.core.errors import Unauthorized
from voice_server.core.limits import StreamLimits
from voice_server.gateway.access.tokens import Tokens
from voice_server.gateway.security import Gate

KEY = "s3cret"


def connection(
    *headers: tuple[str, str],
    query: str = "",
    subprotocols: tuple[str, ...] = (),
    path: str = "/x",
    kind: str = "websocket",
) -> HTTPConnection:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    scope = {"type": kind, "path": path, "headers": raw, "query_string": query.encode()}
    return HTTPConnection({**scope, "scheme": "ws", "server": ("here", 80), "subprotocols": list(subprotocols)})


def is_let_in(shown: HTTPConnection, token: str = KEY) -> bool:
    try:
        Gate(StreamLimits(), Tokens(token)).check(shown)
    except Unauthorized:
        return False
    return True


@pytest.mark.parametrize(
    "shown",
    [
        connection(("authorization", f"Bearer {KEY}")),
        connection(("authorization", f"bearer  {KEY} ")),
        connection(("authorization", f"Token {KEY}")),
        connection(("xi-api-key", KEY)),
        connection(("x-api-key", KEY)),
        connection(query=f"model=tone&api_key={KEY}"),
        connection(query=f"xi-api-key={KEY}"),
        connection(subprotocols=("token", KEY)),
        connection(("authorization", "Bearer unused"), ("xi-api-key", KEY)),
    ],
)
def test_a_key_counts_wherever_a_client_puts_it(shown: HTTPConnection) -> None:
    assert is_let_in(shown)


@pytest.mark.parametrize(
    "shown",
    [
        connection(),
        connection(("authorization", KEY)),
        connection(("authorization", f"Basic {KEY}")),
        connection(("authorization", f"Bearer {KEY}x")),
        connection(("xi-api-key", "")),
        connection(("x-api-key", "\xff\xfe")),
        connection(query="api_key=%ff%00"),
        connection(query=f"token={KEY}"),
        connection(subprotocols=(KEY, "token")),
        connection(subprotocols=("token",)),
        connection(subprotocols=("token", "x", KEY)),
    ],
)
def test_nothing_else_opens_the_gate(shown: HTTPConnection) -> None:
    assert not is_let_in(shown)


@pytest.mark.parametrize("door", ["stream-input", "multi-stream-input"])
def test_a_socket_whose_key_may_come_in_its_first_message_is_let_in(door: str) -> None:
    path = f"/v1/text-to-speech/voice/{door}"
    assert is_let_in(connection(path=path))
    assert is_let_in(connection(("xi-api-key", ""), path=path))
    assert not is_let_in(connection(("xi-api-key", "wrong"), path=path))
    assert not is_let_in(connection(path=path, kind="http"))
    assert not is_let_in(connection(path=f"{path}/more"))


def test_the_key_of_a_first_message_is_checked_like_any_other() -> None:
    gate, client = Gate(StreamLimits(), Tokens(KEY)), connection()
    assert gate.is_guarded
    gate.check_key(client, KEY)
    with pytest.raises(Unauthorized):
        gate.check_key(client, "")


def test_without_a_token_everybody_is_let_in() -> None:
    assert is_let_in(connection(("xi-api-key", "any")), token="")
