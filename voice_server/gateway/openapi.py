"""What the HTTP doors take and answer, as OpenAPI 3.1, read off the table of doors itself.

A door tells what it does in the docstring of its function, and the rest by `@told`: the typed body that it decodes
anyway, its query, what it answers. So nothing is said twice, and a door that says nothing is in the list all the same.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.routing import BaseRoute, Route

from voice_server import __version__
from voice_server.gateway.security import OPEN_PATHS

JSON = "application/json"
_FORM = "multipart/form-data"
_REF = "#/components/schemas/{name}"
_KEYS: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "xi-api-key": {"type": "apiKey", "in": "header", "name": "xi-api-key"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
        }
    },
}

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Details:
    body: type | None = None
    query: Mapping[str, str] = field(default_factory=dict)  # each parameter, and what it says
    answers: tuple[str, ...] = (JSON,)  # content types
    form: Mapping[str, str] = field(default_factory=dict)  # as query; the first one is a file


_details: dict[Callable[..., Any], Details] = {}


def told(
    *,
    body: type | None = None,
    query: Mapping[str, str] | None = None,
    answers: tuple[str, ...] = (JSON,),
    form: Mapping[str, str] | None = None,
) -> Callable[[Endpoint], Endpoint]:
    """What `/openapi.json` says of a door beside its docstring."""

    def remember(endpoint: Endpoint) -> Endpoint:
        _details[endpoint] = Details(body, query or {}, answers, form or {})
        return endpoint

    return remember


def openapi(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    doors = [route for route in routes if isinstance(route, Route) and route.include_in_schema]
    bodies = {body for door in doors if (body := _details_of(door).body)}
    refs, schemas = msgspec.json.schema_components(sorted(bodies, key=repr), ref_template=_REF)
    of_body = dict(zip(sorted(bodies, key=repr), refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for door in doors:
        for method in sorted((door.methods or set()) - {"HEAD"}):
            paths.setdefault(door.path_format, {})[method.lower()] = _operation(door, method, of_body)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Voice gateway", "version": __version__},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": {**schemas, "Error": _ERROR}, "securitySchemes": _KEYS},
        "security": [*({name: []} for name in _KEYS), {}],  # {}: an operator may have set no token
    }


def summary_of(endpoint: Callable[..., Any]) -> str:
    """The first paragraph of its docstring."""
    return " ".join((inspect.getdoc(endpoint) or "").split("\n\n")[0].split())


def _operation(door: Route, method: str, of_body: Mapping[type, dict[str, Any]]) -> dict[str, Any]:
    details = _details_of(door)
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', door.path_format).rstrip('_')}",
        "summary": summary_of(door.endpoint),
        "parameters": [*_path_parameters(door), *_query_parameters(details)],
        "responses": {
            "200": {"description": "Done.", "content": {kind: {} for kind in details.answers}},
            "default": {
                "description": "An error; its code is stable.",
                "content": {JSON: {"schema": {"$ref": _REF.format(name="Error")}}},
            },
        },
    }
    if details.body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": of_body[details.body]}}}
    if details.form:
        operation["requestBody"] = {"required": True, "content": {_FORM: {"schema": _form_schema(details.form)}}}
    if door.path in OPEN_PATHS:
        operation["security"] = []
    return operation


def _form_schema(form: Mapping[str, str]) -> dict[str, Any]:
    file, *_ = form
    fields = {name: {"type": "string", "description": what} for name, what in form.items()}
    return {"type": "object", "required": [file], "properties": fields | {file: {**fields[file], "format": "binary"}}}


def _details_of(door: Route) -> Details:
    return _details.get(door.endpoint, Details())


def _path_parameters(door: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in door.param_convertors
    ]


def _query_parameters(details: Details) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "description": what, "schema": {"type": "string"}}
        for name, what in details.query.items()
    ]
