from __future__ import annotations

import asyncio
import socket

import pytest

from voice_server.terminal.session import CannotConnect, connect_remote, with_query

URL = "ws://host:8000/stream-tokens"


def test_an_address_without_parameters_stays_as_it_is() -> None:
    assert with_query(URL) == URL


def test_parameters_are_added_to_those_of_the_address_or_replace_them() -> None:
    assert with_query(URL + "?voice=a&x=1", voice="b c", sample_rate=16000) == URL + "?voice=b+c&x=1&sample_rate=16000"


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/stream-tokens"
        with pytest.raises(CannotConnect, match=f"cannot reach {url}: "):
            asyncio.run(connect_remote(url))


@pytest.mark.parametrize("url", ["http://host/stream-tokens", "localhost:8000", "ws://host:port/x"])
def test_an_address_that_is_no_websocket_is_explained(url: str) -> None:
    with pytest.raises(CannotConnect, match="it starts with ws:// or wss://"):
        asyncio.run(connect_remote(url))
