"""The table of routes says what its handlers do: every status that a handler refuses with stands in the document, every route has a permission."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import relay.web
from relay.web import openapi
from relay.web.router import Permission, Route
from tests.web.whole import whole_relay

Place = tuple[str, str]  #: module, qualified name


@functools.cache
def functions() -> dict[Place, tuple[set[int], set[Place]]]:
    """Of each function of ``relay.web``: the statuses it makes Problems of, and the functions of ``relay.web`` that it calls by name."""
    found: dict[Place, tuple[set[int], set[Place]]] = {}
    for path in Path(relay.web.__file__).parent.glob("*.py"):
        module = f"relay.web.{path.stem}"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("relay.web")
            for alias in node.names
        }
        for name, owner, function in _defined(tree):
            statuses: set[int] = set()
            calls: set[Place] = set()
            for node in ast.walk(function):
                if not isinstance(node, ast.Call):
                    continue
                called = node.func
                if isinstance(called, ast.Name) and called.id == "Problem" and node.args and isinstance(node.args[0], ast.Constant):
                    statuses.add(int(node.args[0].value))  # type: ignore[arg-type]
                elif isinstance(called, ast.Name):
                    calls.add(imported.get(called.id, (module, called.id)))  # type: ignore[arg-type]
                elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "self":
                    calls.add((module, f"{owner}.{called.attr}"))
            found[module, name] = (statuses, calls)
    return found


def _defined(tree: ast.Module) -> Iterator[tuple[str, str, ast.AST]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, "", node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{inner.name}", node.name, inner


def reachable(place: Place) -> set[int]:
    """The statuses of a function and of all that it calls by name."""
    table, seen, waiting, statuses = functions(), set[Place](), [place], set[int]()
    while waiting:
        at = waiting.pop()
        if at in seen or at not in table:
            continue
        seen.add(at)
        statuses |= table[at][0]
        waiting.extend(table[at][1])
    return statuses


def place_of(handler: Any) -> Place:
    """Where a handler is written."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    function = inspect.unwrap(getattr(handler, "__func__", handler))
    assert isinstance(function, FunctionType), handler
    return function.__module__, function.__qualname__.split(".<locals>")[0]


def shown() -> Iterator[tuple[Route, dict[str, Any]]]:
    """Routes with their operation in the document."""
    routes = whole_relay().web.router.routes
    paths = openapi.document(routes, "1")["paths"]
    for route in routes:
        if not route.hidden:
            yield route, paths[openapi.template(route.path)][route.method.lower()]


def test_every_status_that_a_handler_refuses_with_is_declared() -> None:
    faults = []
    for route, operation in shown():
        place = place_of(route.handler)
        assert place in functions(), f"{place} is no function of relay.web"
        missing = reachable(place) - {int(status) for status in operation["responses"]} - {500}  # a fault of the relay is in no document
        if missing:
            faults.append(f"{route.method} {route.path} ({place[1]}) also answers {sorted(missing)}")
    assert not faults, "\n".join(faults)


def test_the_check_follows_helpers_over_modules() -> None:
    assert importlib.import_module("relay.web.api_alarms")
    assert 404 in reachable(("relay.web.api_alarms", "AlarmApi.get"))
    assert 409 in reachable(("relay.web.api_attachments", "AttachmentApi.fetch"))


def test_every_route_has_a_permission_and_a_known_scope() -> None:
    for route in whole_relay().web.router.routes:
        assert isinstance(route.permission, Permission), route.path
        assert route.scope in ("sim", "filtered", "any"), route.path
