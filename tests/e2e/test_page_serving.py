"""How the page is served: to whom, with which headers, and that nothing else is."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.harness import RunningServer, running_server, tone_config
from voice_server.gateway.doors.page import POLICY, STATIC

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
KEY = "s3cret"


async def _get(server: RunningServer, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{server.http}{path}", headers=headers)


async def test_a_browser_gets_the_page(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _get(server, "/", BROWSER)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"] == "accept"
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_a_program_gets_json(tone_python: Path, accept: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _get(server, "/", {"accept": accept})
    assert answer.json()["backend"] == "tone"
    assert answer.headers["vary"] == "accept"


async def test_every_file_of_the_page_is_guarded_and_not_kept_unasked(tone_python: Path) -> None:
    files = [path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()]
    async with running_server(tone_config(), tone_python) as server:
        answers = {name: await _get(server, f"/page/{name}") for name in files}
    for name, answer in answers.items():
        assert answer.status_code == 200, name
        assert answer.headers["content-security-policy"] == POLICY, name
        assert answer.headers["x-content-type-options"] == "nosniff", name
        assert answer.headers["cache-control"] == "no-cache", name


async def test_a_module_is_javascript_and_a_known_one_is_not_sent_again(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        first = await _get(server, "/page/main.js")
        again = await _get(server, "/page/main.js", {"if-none-match": first.headers["etag"]})
    assert "javascript" in first.headers["content-type"]
    assert again.status_code == 304
    assert again.headers["content-security-policy"] == POLICY


@pytest.mark.parametrize(
    "path", ["/page/", "/page/locales", "/page/locales/", "/page/nothing.js", "/page/../page.py", "/page/..%2fpage.py"]
)
async def test_there_is_no_list_of_files_and_no_way_out(tone_python: Path, path: str) -> None:
    async with running_server(tone_config(), tone_python) as server:
        answer = await _get(server, path)
    assert answer.status_code == 404


async def test_the_page_opens_without_the_token_and_nothing_else_does(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python, token=KEY) as server:
        opened = [await _get(server, path, BROWSER) for path in ("/", "/page/main.js")]
        closed = [await _get(server, path, BROWSER) for path in ("/backends", "/status", "/page", "/page/../status")]
        for_a_program = await _get(server, "/")
    assert [answer.status_code for answer in opened] == [200, 200]
    assert {answer.status_code for answer in closed} == {401}
    assert for_a_program.status_code == 401


@pytest.mark.parametrize("host", ["x/health?", "x/page/?", "x/page/#"])
async def test_a_host_header_opens_no_door(tone_python: Path, host: str) -> None:
    async with running_server(tone_config(), tone_python, token=KEY) as server:
        answer = await _get(server, "/backends", {"host": host})
    assert answer.status_code in (400, 401)


async def test_the_page_is_told_who_speaks_by_default_and_who_can_clone(tone_python: Path) -> None:
    async with running_server(tone_config(), tone_python) as server:
        told = (await _get(server, "/backends")).json()["backends"][0]
    assert (told["voice"], told["can_clone"], told["problem"]) == ("tone", True, "")
