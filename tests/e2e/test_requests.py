"""Request ids, keys and CORS over real sockets."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx
import pytest
import websockets

from tests.harness import RunningServer, running_server, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

PAGE = "https://page.example"


async def get(server: RunningServer, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient() as client:
        return await client.request(method, server.http + path, headers=named)


async def test_an_answer_carries_the_id_that_its_client_gave(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await get(server, "/health", x_request_id="call-7.a")
    assert answer.headers["x-request-id"] == "call-7.a"


@pytest.mark.parametrize("given", ["", "two words", "a" * 129, "<script>"])
async def test_an_id_that_is_no_plain_word_is_replaced(tone_python: Path, given: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        ids = [(await get(server, "/health", x_request_id=given)).headers["x-request-id"] for _ in range(2)]
    assert ids[0] != ids[1] and given not in ids


async def test_refusals_and_websockets_have_ids_too(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        refused = await get(server, "/voices", x_request_id="one")
        headers = {"x-request-id": "two", "authorization": "Bearer secret"}
        async with websockets.connect(f"{server.ws}/stream-tokens", additional_headers=headers) as ws:
            assert ws.response and ws.response.headers["x-request-id"] == "two"
    assert (refused.status_code, refused.headers["x-request-id"]) == (401, "one")


async def test_the_log_line_of_a_request_has_its_id_and_no_query(
    tone_python: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="voice_server.gateway.requests"):
        async with running_server(tone_config(), tone_python) as server:
            await get(server, "/nowhere?api_key=secret", x_request_id="call-8")
    line = next(record for record in caplog.records if record.name == "voice_server.gateway.requests")
    assert line.__dict__["request_id"] == "call-8"
    assert line.getMessage().startswith("GET '/nowhere' 404")
    assert "secret" not in caplog.text


async def test_a_key_among_the_subprotocols_opens_the_gate_and_is_answered(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token="secret") as server:
        protocols = [websockets.Subprotocol("token"), websockets.Subprotocol("secret")]
        async with websockets.connect(f"{server.ws}/stream-tokens", subprotocols=protocols) as ws:
            assert ws.subprotocol == "token"


async def test_no_page_may_read_an_answer_unless_it_is_named(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        assert "access-control-allow-origin" not in (await get(server, "/voices", origin=PAGE)).headers
    async with running_server(tone_config(), tone_python, cors=(PAGE,)) as server:
        ours, other = await get(server, "/voices", origin=PAGE), await get(server, "/voices", origin="https://other")
    assert ours.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in other.headers


async def test_a_named_page_may_send_a_key_and_read_a_refusal(tone_python: Path) -> None:
    asked = {"origin": PAGE, "access_control_request_method": "POST", "access_control_request_headers": "authorization"}
    async with running_server(tone_config(), tone_python, cors=("*",), token="secret") as server:
        leave, refused = await get(server, "/tts", "OPTIONS", **asked), await get(server, "/voices", origin=PAGE)
    assert (leave.status_code, leave.headers["access-control-allow-headers"]) == (200, "authorization")
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
    assert "x-request-id" in refused.headers["access-control-expose-headers"]
