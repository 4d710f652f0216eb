from __future__ import annotations

import json

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from voice_server.gateway.doors.docs_page import render
from voice_server.gateway.openapi import openapi, told


class Wanted(msgspec.Struct):
    text: str
    pitch: int | None = None


@told(body=Wanted, query={"speed": "how <fast>"}, answers=("audio/wav",))
async def sing(request: Request) -> Response:
    """Sing a text.

    Not shown.
    """
    raise NotImplementedError


async def silent(request: Request) -> Response:
    raise NotImplementedError


ROUTES = [Route("/sing/{voice}", sing, methods=["POST"]), Route("/silent", silent), WebSocketRoute("/ws", sing)]


def test_a_door_is_described_by_its_docstring_and_its_typed_body() -> None:
    api = openapi(ROUTES)
    operation = api["paths"]["/sing/{voice}"]["post"]
    assert operation["summary"] == "Sing a text."
    assert [(item["name"], item["in"]) for item in operation["parameters"]] == [("voice", "path"), ("speed", "query")]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Wanted"}
    assert api["components"]["schemas"]["Wanted"]["required"] == ["text"]
    assert list(operation["responses"]["200"]["content"]) == ["audio/wav"]


def test_a_door_that_says_nothing_of_itself_is_listed_too() -> None:
    assert list(openapi(ROUTES)["paths"]["/silent"]) == ["get"]


def test_it_is_plain_json_whose_references_lead_somewhere() -> None:
    api = openapi(ROUTES)
    known = {f"#/components/schemas/{name}" for name in api["components"]["schemas"]}
    referred = {part.split('"')[0] for part in json.dumps(api).split('"$ref": "')[1:]}
    assert referred and referred <= known


def test_the_page_shows_every_door_and_escapes_what_it_shows() -> None:
    page = render(openapi(ROUTES), {"/ws": "Sockets & more."})
    for shown in (
        "/sing/{voice}",
        "Sing a text.",
        "how &lt;fast&gt;",
        "text",
        "integer or null",
        "Sockets &amp; more.",
    ):
        assert shown in page
    assert "<fast>" not in page


def test_the_page_loads_nothing() -> None:
    page = render(openapi(ROUTES), {})
    assert not any(loader in page for loader in ("src=", "href=", "url(", "@import", "<script", "http:", "https:"))
