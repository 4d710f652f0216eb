"""Who a client is, where a proxy stands between: 127.0.0.2 is the proxy here, and 127.0.0.1 somebody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import websockets

from tests.harness import FAST, RunningServer, eventually, running_server, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

PROXY, STRANGER = "127.0.0.2", "127.0.0.1"


@asynccontextmanager
async def connected(
    server: RunningServer, by: str, *told: str, path: str = "/stream-tokens"
) -> AsyncIterator[websockets.ClientConnection]:
    """From this address, with a header `X-Forwarded-For` for each of `told`."""
    headers = [("X-Forwarded-For", one) for one in told]
    async with websockets.connect(server.ws + path, local_addr=(by, 0), additional_headers=headers) as ws:
        await ws.recv()
        yield ws


async def seen(server: RunningServer, by: str, *told: str) -> str:
    """Who the server thinks that it is."""
    async with connected(server, by, *told):
        await eventually(lambda: len(server.backend.streams) == 1, "the stream is there")
        [backend] = server.house.status.backends
        [stream] = backend.streams
    await eventually(lambda: not server.backend.streams, "the stream is over")
    return stream.client


async def test_a_trusted_proxy_says_who_its_client_is(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, proxies=[PROXY]) as server:
        assert await seen(server, PROXY, "203.0.113.7") == "203.0.113.7"
        assert await seen(server, PROXY) == PROXY


async def test_an_address_told_by_somebody_else_is_not_believed(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, proxies=[PROXY]) as server:
        assert await seen(server, STRANGER, "203.0.113.7") == STRANGER


async def test_what_a_client_told_its_proxy_is_not_believed(tone_python: Path) -> None:
    """A proxy adds whom it saw behind what was there, or in a header of its own."""
    async with running_server(tone_config(), tone_python, proxies=[PROXY]) as server:
        assert await seen(server, PROXY, "10.9.9.9, 203.0.113.7") == "203.0.113.7"
        assert await seen(server, PROXY, "10.9.9.9", "203.0.113.7") == "203.0.113.7"


async def test_proxies_in_a_row_are_all_believed_if_all_are_trusted(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, proxies=["127.0.0.2/31", "10.0.0.7"]) as server:
        assert await seen(server, PROXY, "203.0.113.7, 10.0.0.7") == "203.0.113.7"
        assert await seen(server, PROXY, "203.0.113.7, 10.0.0.8") == "10.0.0.8"


async def test_without_a_trusted_proxy_no_address_is_believed_not_even_on_this_machine(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        assert await seen(server, STRANGER, "203.0.113.7") == STRANGER


async def test_each_client_of_a_proxy_has_connections_of_its_own(tone_python: Path) -> None:
    limits = replace(FAST, stream=replace(FAST.stream, connections_per_address=1))
    async with running_server(tone_config(), tone_python, limits=limits, proxies=[PROXY]) as server:
        async with AsyncExitStack() as stack:
            for client in ("203.0.113.7", "203.0.113.8"):
                await stack.enter_async_context(connected(server, PROXY, client))
            with pytest.raises(websockets.InvalidStatus) as refused:
                await stack.enter_async_context(connected(server, PROXY, "203.0.113.7"))
    assert refused.value.response.status_code == 503


async def test_a_token_to_come_back_with_begins_with_the_name_of_its_gateway(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, name="gateway-1") as server:
        async with websockets.connect(f"{server.ws}/stream-tokens?resume=1") as ws:
            name, _, secret = str(await ws.recv()).split('"resume":"')[1].partition('"')[0].partition(".")
    assert (name, len(secret)) == ("gateway-1", 22)
