"""`/openapi.json` and `/docs` of the real table of doors."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.harness import running_server, tone_config

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]


async def test_every_http_door_says_what_it_does(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, httpx.AsyncClient(base_url=server.http) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    told = {path: [operation["summary"] for operation in methods.values()] for path, methods in paths.items()}
    assert "/tts" in told
    assert [path for path, summaries in told.items() if not all(summaries)] == []


async def test_each_operation_has_an_id_of_its_own(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, httpx.AsyncClient(base_url=server.http) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


async def test_the_docs_page_may_load_nothing_and_names_the_websockets(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server, httpx.AsyncClient(base_url=server.http) as client:
        page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/stream-tokens" in page.text and "/tts" in page.text
    assert "<p></p>" not in page.text, "a door says nothing of itself"
