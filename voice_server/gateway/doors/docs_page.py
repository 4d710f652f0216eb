"""The doors `/openapi.json` and `/docs`: the same table for programs and for people. The page loads nothing at all."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import BaseRoute, WebSocketRoute

from voice_server.gateway.openapi import openapi, summary_of

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
:root { color-scheme: light dark }
section { border-top: 1px solid #8886; padding: .5rem 0 }
h2 { font-size: 1rem; margin: .25rem 0 } h2 b { display: inline-block; min-width: 4rem }
table { border-collapse: collapse } td { padding: .1rem 1rem .1rem 0; vertical-align: top } code { font-size: .9em }
"""


async def openapi_json(request: Request) -> JSONResponse:
    return JSONResponse(openapi(request.app.routes))


async def docs(request: Request) -> HTMLResponse:
    page = render(openapi(request.app.routes), _websockets(request.app.routes))
    return HTMLResponse(page, headers={"content-security-policy": _POLICY})


def render(api: dict[str, Any], websockets: dict[str, str]) -> str:
    """A whole page. `websockets`: what each WebSocket door does, which OpenAPI has no words for."""
    title = escape(f"{api['info']['title']} {api['info']['version']}")
    http = [
        _door(method.upper(), path, operation, api["components"]["schemas"])
        for path, operations in api["paths"].items()
        for method, operation in operations.items()
    ]
    sockets = [_section("WS", path, what, "") for path, what in sorted(websockets.items())]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    told = "<p>Programs read this as <code>/openapi.json</code>.</p>"
    body = f"<h1>{title}</h1>{told}{''.join(sockets)}{''.join(http)}"
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>'


def _websockets(routes: Iterable[BaseRoute]) -> dict[str, str]:
    return {route.path: summary_of(route.endpoint) for route in routes if isinstance(route, WebSocketRoute)}


def _door(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = [(item["name"], item["in"], item.get("description", "")) for item in operation["parameters"]]
    if body := operation.get("requestBody"):
        (content,) = body["content"].values()
        rows += _fields(content["schema"], schemas)
    answers = ", ".join(operation["responses"]["200"]["content"])
    return _section(method, path, operation["summary"], f"{_table(rows)}<p>answers {_code(answers)}</p>")


def _fields(schema: dict[str, Any], schemas: dict[str, Any]) -> list[tuple[str, str, str]]:
    schema = schemas.get(schema.get("$ref", "").rsplit("/", 1)[-1], schema)
    required = schema.get("required", [])
    return [
        (name, "body", field.get("description", f"{_kind(field)}{', required' if name in required else ''}"))
        for name, field in schema.get("properties", {}).items()
    ]


def _kind(field: dict[str, Any]) -> str:
    """A type in a word or a few."""
    if "anyOf" in field:
        return " or ".join(_kind(choice) for choice in field["anyOf"])
    if "enum" in field:
        return "one of " + ", ".join(map(str, field["enum"]))
    return str(field.get("type", field.get("$ref", "anything").rsplit("/", 1)[-1]))


def _section(method: str, path: str, what: str, rest: str) -> str:
    return f"<section><h2><b>{method}</b> {_code(path)}</h2><p>{escape(what)}</p>{rest}</section>"


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = "".join(f"<tr><td>{_code(name)}<td>{escape(where)}<td>{escape(what)}" for name, where, what in rows)
    return f"<table>{cells}</table>" if cells else ""


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
