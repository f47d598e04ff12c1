"""The OpenAPI 3.1 document, made from the table of routes (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from relay.web.problem import PHRASES, ProblemBody
from relay.web.router import Permission, Route

_HOLE = re.compile(r"\{([a-z_]+)(?::([a-z|]+))?\}")
_REF = "#/components/schemas/{name}"
_JSON = "application/json"

TITLE = "jt1078relay"
DESCRIPTION = (
    "Vehicle terminals by JT/T 808 and JT/T 1078 in, players out. Times are ISO 8601 with a zone; lists answer `items`, `total` and `next`; "
    "everything that waits for a terminal takes `timeout_s` and says at which hop it stopped."
)


def document(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """The whole document."""
    shown = [route for route in routes if not route.hidden]
    bodies = [route.body for route in shown if route.body is not None]
    answers = [route.answer for route in shown if route.answer is not None]
    queries = [route.query for route in shown if route.query is not None]
    wanted = [ProblemBody, *bodies, *answers, *queries]
    schemas, components = msgspec.json.schema_components(wanted, ref_template=_REF)
    index = dict(zip(map(_identity, wanted), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in shown:
        paths.setdefault(template(route.path), {})[route.method.lower()] = _operation(route, index, components)
    for query in queries:
        components.pop(query.__name__, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": version, "description": DESCRIPTION, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in shown)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API token, see `jt1078relay token --api`."},
                "page": {"type": "apiKey", "in": "query", "name": "token", "description": "The same token in the address, for GET only."},
                "media": {"type": "apiKey", "in": "query", "name": "token", "description": "A media token, as in the play URLs."},
                "metrics": {"type": "http", "scheme": "bearer", "description": "`metrics.token` of the configuration, or an API token."},
            },
        },
    }


def template(path: str) -> str:
    """A route's template as the document writes it."""
    return _HOLE.sub(r"{\1}", path)


def _identity(kind: Any) -> str:
    return repr(kind)


def _operation(route: Route, index: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _name(route),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route, components)],
        "responses": _responses(route, index),
        "security": _security(route),
    }
    if isinstance(route.permission, Permission) and route.permission is not Permission.PUBLIC:
        operation["x-permission"] = route.permission.value
    if route.body is not None:
        operation["requestBody"] = {"required": not route.body_optional, "content": {_JSON: {"schema": index[_identity(route.body)]}}}
    return operation


def _name(route: Route) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", _HOLE.sub(r"\1", route.path).removeprefix("/api/v1")) if word]
    return "_".join([route.method.lower(), *words]) or route.method.lower()


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    parameters = []
    for name, kind in _HOLE.findall(route.path):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if kind == "int":
            schema = {"type": "integer", "minimum": 0, "maximum": 999}
        elif kind:
            schema = {"type": "string", "enum": kind.split("|")}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    return parameters


def _query_parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = components[route.query.__name__]
    required = set(schema.get("required", ()))
    parameters = []
    for name, field in schema["properties"].items():
        parameter = {"name": name, "in": "query", "required": name in required, "schema": field}
        if "description" in field:
            parameter["description"] = field["description"]
        parameters.append(parameter)
    return parameters


def _responses(route: Route, index: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": PHRASES.get(route.status, "OK")}
    if route.answer is not None:
        good["content"] = {_JSON: {"schema": index[_identity(route.answer)]}}
    elif route.status != 204:
        good["content"] = {kind: {} for kind in (route.content_type, *route.also)}
    responses = {str(route.status): good}
    if 416 in route.errors:  # ranges
        responses["206"] = {**good, "description": PHRASES[206]}
    refused = {404} if "{" in route.path else set()
    if "{" in route.path or route.query is not None:
        refused.add(414)  # the address can be made longer than ``server.LINE_MAX``
    if route.permission is not Permission.PUBLIC:
        refused |= {400, 401, 403}
    if route.permission in (Permission.VIEWER, Permission.OPERATOR, Permission.ADMIN):
        refused.add(429)  # limits.requests_per_user_s
    if route.body is not None:
        refused |= {400, 413, 415}
    for status in sorted(refused | set(route.errors)):
        responses[str(status)] = {"description": PHRASES.get(status, "Error"), "content": {_JSON: {"schema": index[_identity(ProblemBody)]}}}
    return responses


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.permission is Permission.PUBLIC:
        return []
    if route.permission is Permission.MEDIA:
        return [{"media": []}, {"bearer": []}]
    if route.permission is Permission.METRICS:
        return [{"metrics": []}]
    return [{"bearer": []}, {"page": []}] if route.method == "GET" else [{"bearer": []}]
