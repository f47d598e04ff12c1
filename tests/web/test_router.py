"""The table of routes: what is found, who may, what is refused with which status."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred

from relay.errors import UsageError
from relay.settings import Http
from relay.web.openapi import document
from relay.web.problem import Problem
from relay.web.router import Answer, Call, Headers, Permission, Route, Router, decode_json, decode_path
from tests.web.support import authenticate, parse, request, routed


class Thing(msgspec.Struct):
    name: str
    size: int = 0


class Change(msgspec.Struct, forbid_unknown_fields=True):
    size: int
    label: str = ""


class Filter(msgspec.Struct, forbid_unknown_fields=True):
    limit: int = 100
    online: bool | None = None


def give(call: Call) -> Thing:
    return Thing(call.path["name"], call.query.limit if call.query is not None else 0)


def route(method: str = "GET", path: str = "/things/{name}", handler: Any = give, permission: Any = Permission.VIEWER, **more: Any) -> Route:
    return Route(method=method, path=path, handler=handler, permission=permission, summary="Things", **{"answer": Thing, **more})


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {role}"}


def test_a_route_without_a_permission_does_not_start() -> None:
    with pytest.raises(UsageError, match="no permission"):
        Router([route(permission=None)], authenticate)


def test_a_route_that_stands_twice_does_not_start() -> None:
    with pytest.raises(UsageError, match="twice"):
        Router([route(), route()], authenticate)


def test_a_value_is_answered_as_json() -> None:
    server, _ = routed([route(query=Filter)])
    answer = server.ask("GET", "/things/a%20b?limit=7", bearer("viewer"))
    assert (answer.status, answer.json) == (200, {"name": "a b", "size": 7})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    server.end()


def test_names_of_a_path_are_percent_decoded_utf_8() -> None:
    server, _ = routed([route()])
    assert server.ask("GET", "/things/%E7%B2%A4B12345", bearer("viewer")).json["name"] == "粤B12345"


@pytest.mark.parametrize(
    "path",
    [
        "/things/..", "/things/%2e%2e", "/things/.", "/things/a%2Fb", "/things/a%5Cb", "/things/a%00", "/things/%ff", "/things/a%0d%0a",
        "/things//a", "//things/a", "/things/", "/things", "/things/a/b", "/things/..%2f..%2fetc%2fpasswd", "things/a", "*", "/%2e%2e/things/a",
        "http://relay.example/things/a", "/things/%e2%80%ae",
    ],
)  # fmt: skip
def test_paths_that_no_route_can_mean_are_not_found(path: str) -> None:
    server, router = routed([route()])
    answer = server.ask("GET", path, bearer("admin"))
    assert answer.status == 404
    assert answer.json["error"] == "not_found"
    assert router.failures == 0


def test_decode_path_keeps_a_slash_at_the_end() -> None:
    assert decode_path(b"/") == "/"
    assert decode_path(b"/api/") == "/api/"
    assert decode_path(b"/a//") is None


def test_other_methods_are_405_with_allow() -> None:
    server, _ = routed([route(), route("DELETE", status=204, answer=None)])
    for method in ("PUT", "PATCH", "TRACE", "get", "BREW"):
        answer = server.ask(method, "/things/a", bearer("admin"))
        assert answer.status == 405
        assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS"


def test_head_is_get_without_its_body() -> None:
    server, _ = routed([route()])
    answer = server.ask("HEAD", "/things/a", bearer("viewer"))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(server.ask("GET", "/things/a", bearer("viewer")).body))


def test_options_answers_by_itself_and_gives_no_origin_away() -> None:
    server, _ = routed([route()])
    answer = server.ask("OPTIONS", "/things/a", {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"})
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert "access-control-allow-origin" not in answer.headers
    assert server.ask("OPTIONS", "/nothing").status == 404


def test_listed_origins_may_call_the_api() -> None:
    server, _ = routed([route()], cors_origins=("https://console.example",))
    good = server.ask("GET", "/things/a", {**bearer("viewer"), "Origin": "https://console.example"})
    assert good.headers["access-control-allow-origin"] == "https://console.example"
    assert good.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in server.ask("GET", "/things/a", {**bearer("viewer"), "Origin": "https://evil.example"}).headers
    asked = server.ask("OPTIONS", "/things/a", {"Origin": "https://console.example", "Access-Control-Request-Method": "GET"})
    assert "Authorization" in asked.headers["access-control-allow-headers"]


def test_pictures_of_a_map_come_from_the_configured_server_alone() -> None:
    without, named = Headers(Http()).page("relay.example"), Headers(Http(map_tiles="https://tiles.example:8443/{z}/{x}/{y}.png?key=1")).page("relay.example")
    assert "img-src 'self' data: blob:;" in without
    assert named == without.replace("img-src 'self' data: blob:;", "img-src 'self' data: blob: https://tiles.example:8443;")


def test_media_routes_allow_every_origin_also_on_errors() -> None:
    server, _ = routed([route(any_origin=True, permission=Permission.MEDIA)])
    for method, headers, status in (("GET", {}, 401), ("GET", bearer("no"), 403), ("GET", bearer("viewer"), 200), ("OPTIONS", {}, 204), ("PUT", {}, 405)):
        answer = server.ask(method, "/things/a", headers)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, "*")


@pytest.mark.parametrize(
    ("permission", "roles"),
    [
        (Permission.VIEWER, ["viewer", "operator", "admin"]),
        (Permission.OPERATOR, ["operator", "admin"]),
        (Permission.ADMIN, ["admin"]),
        (Permission.MEDIA, ["viewer", "operator", "admin"]),
        (Permission.METRICS, ["viewer", "operator", "admin"]),
        (Permission.PUBLIC, ["", "viewer", "operator", "admin"]),
    ],
)
def test_each_permission_admits_its_roles(permission: Permission, roles: list[str]) -> None:
    server, _ = routed([route(permission=permission)])
    for role in ("", "viewer", "operator", "admin"):
        answer = server.ask("GET", "/things/a", bearer(role) if role else {})
        assert answer.status == (200 if role in roles else 403 if role else 401), role
        if answer.status == 401:
            assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_refused_caller_learns_nothing_of_the_body_or_query() -> None:
    server, _ = routed([route("POST", body=Change, permission=Permission.ADMIN)])
    assert server.ask("POST", "/things/a?nonsense=1", bearer("viewer"), b"not json").status == 403


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/things/a", 200),
        ("/things/a?limit=5&online=true", 200),
        ("/things/a?token=whatever", 200),
        ("/things/a?limit=x", 400),
        ("/things/a?limit=", 400),
        ("/things/a?online=maybe", 400),
        ("/things/a?unknown=1", 400),
        ("/things/a?limit=%ff", 400),
        ("/things/a?" + "&".join(f"a{n}=1" for n in range(100)), 400),
    ],
)
def test_a_query_fits_or_is_refused(target: str, status: int) -> None:
    server, router = routed([route(query=Filter)])
    assert server.ask("GET", target, bearer("viewer")).status == status
    assert router.failures == 0


def test_players_may_add_parameters_of_their_own() -> None:
    server, _ = routed([route(query=Filter, any_query=True)])
    assert server.ask("GET", "/things/a?limit=3&cachebuster=17", bearer("viewer")).json["size"] == 3


@pytest.mark.parametrize(
    ("body", "kind", "status", "error"),
    [
        (b'{"size": 1}', "application/json", 200, ""),
        (b'{"size": 58.0}', "application/json; charset=utf-8", 200, ""),
        (b'{"size": 58.5}', "application/json", 400, "bad_body"),
        (b'{"size": "1"}', "application/json", 400, "bad_body"),
        (b'{"size": 1, "more": 2}', "application/json", 400, "bad_body"),
        (b"{}", "application/json", 400, "bad_body"),
        (b"[]", "application/json", 400, "bad_body"),
        (b"{", "application/json", 400, "bad_json"),
        (b'{"size": 1} x', "application/json", 400, "bad_json"),
        (b"\xff\xfe", "application/json", 400, "bad_json"),
        (b'{"label": "\xff", "size": 1}', "application/json", 400, "bad_json"),
        (b"[" * 100000, "application/json", 400, "bad_json"),
        (b"[" * 500 + b"]" * 500, "application/json", 400, "bad_json"),
        (b"", "application/json", 400, "bad_body"),
        (b"size=1", "application/x-www-form-urlencoded", 415, "not_json"),
        (b'{"size": 1}', "text/plain", 415, "not_json"),
    ],
)
def test_a_body_fits_or_is_refused_with_its_path(body: bytes, kind: str, status: int, error: str) -> None:
    server, router = routed([route("POST", handler=lambda call: Thing(call.path["name"], call.body.size), body=Change)])
    answer = server.ask("POST", "/things/a", {**bearer("viewer"), "Content-Type": kind}, body)
    assert answer.status == status
    if error:
        assert answer.json["error"] == error
    assert router.failures == 0


def test_an_integral_float_is_an_integer_as_json_schema_has_it() -> None:
    assert decode_json(b'{"size": 58.0}', Change).size == 58
    assert decode_json(b'{"a": [1.0, {"b": 2.5}]}', dict) == {"a": [1, {"b": 2.5}]}


def test_an_optional_body_may_be_missing() -> None:
    class Options(msgspec.Struct, forbid_unknown_fields=True):
        size: int = 5

    server, _ = routed([route("POST", handler=lambda call: Thing("x", call.body.size), body=Options, body_optional=True)])
    assert server.ask("POST", "/things/a", bearer("viewer")).json["size"] == 5
    assert server.ask("POST", "/things/a", bearer("viewer"), b'{"size": 6}').json["size"] == 6


def test_a_problem_has_its_status_and_words() -> None:
    def fail(call: Call) -> None:
        raise Problem(504, "no media", code="no_media", hint="look at the terminal", hop="connected", trace={"hops": []})

    server, router = routed([route(handler=fail)])
    answer = server.ask("GET", "/things/a", bearer("viewer"))
    assert answer.status == 504
    assert answer.json == {"error": "no_media", "message": "no media", "hint": "look at the terminal", "hop": "connected", "trace": {"hops": []}}
    assert router.failures == 0


def test_a_bug_is_logged_and_answered_500_without_its_text(logged_errors: Any) -> None:
    def fail(call: Call) -> None:
        raise ZeroDivisionError("secret inside")

    server, router = routed([route(handler=fail)])
    answer = server.ask("GET", "/things/a", bearer("viewer"))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert router.failures == 1
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


def test_errors_of_other_parts_are_translated() -> None:
    def fail(call: Call) -> None:
        raise KeyError("x")

    router = Router([route(handler=fail)], authenticate, translate=lambda error: Problem(409, "taken") if isinstance(error, KeyError) else None)
    from tests.web.support import Server

    assert Server(router.handle).ask("GET", "/things/a", bearer("viewer")).status == 409


def test_handlers_may_wait() -> None:
    waiting: Deferred[Thing] = Deferred()
    server, _ = routed([route(handler=lambda call: waiting)])
    transport = server.send("GET", "/things/a", bearer("viewer"))
    assert transport.value() == b""
    waiting.callback(Thing("late"))
    assert parse(transport.value())[0].json["name"] == "late"
    server.end()


def test_coroutines_are_handlers() -> None:
    waiting: Deferred[str] = Deferred()

    async def wait(call: Call) -> Thing:
        return Thing(await waiting)

    server, _ = routed([route(handler=wait)])
    transport = server.send("GET", "/things/a", bearer("viewer"))
    waiting.callback("x")
    assert parse(transport.value())[0].json["name"] == "x"
    server.end()


def test_a_handler_is_cancelled_when_its_client_goes_away() -> None:
    ended: list[str] = []

    async def wait(call: Call) -> Thing:
        try:
            await Deferred()
        except CancelledError:
            ended.append("cancelled")
            raise
        raise AssertionError

    server, router = routed([route(handler=wait)])
    server.send("GET", "/things/a", bearer("viewer")).lost()
    assert ended == ["cancelled"]
    assert router.failures == 0
    server.end()


def test_a_bug_after_a_wait_is_a_500_too(logged_errors: Any) -> None:
    waiting: Deferred[Thing] = Deferred()
    server, _ = routed([route(handler=lambda call: waiting)])
    transport = server.send("GET", "/things/a", bearer("viewer"))
    waiting.errback(ZeroDivisionError())
    assert parse(transport.value())[0].status == 500
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    server.end()


def test_an_answer_may_be_anything() -> None:
    server, _ = routed([route(handler=lambda call: Answer(b"text", "text/plain", 202, {"X-A": "b"}))])
    answer = server.ask("GET", "/things/a", bearer("viewer"))
    assert (answer.status, answer.body, answer.headers["content-type"], answer.headers["x-a"]) == (202, b"text", "text/plain", "b")


def test_nothing_is_204() -> None:
    server, _ = routed([route("DELETE", handler=lambda call: None, status=204, answer=None)])
    answer = server.ask("DELETE", "/things/a", bearer("viewer"))
    assert (answer.status, answer.body) == (204, b"")
    assert "content-type" not in answer.headers


def test_templates_with_numbers_words_and_aliases() -> None:
    seen: list[dict[str, str]] = []

    def note(call: Call) -> None:
        seen.append(call.path)

    server, _ = routed(
        [
            route(path="/live/{sim}_{channel:int}.flv", aliases=("/live/{sim}_{channel:int}_{stream:main|sub}.flv", "/{sim}/{channel:int}.flv"),
                  handler=note, status=204),
        ]
    )  # fmt: skip
    for path in ("/live/13800138000_1.flv", "/live/A_1_2_sub.flv", "/0138/33.flv"):
        assert server.ask("GET", path, bearer("viewer")).status == 204
    assert seen == [
        {"sim": "13800138000", "channel": "1"},
        {"sim": "A_1", "channel": "2", "stream": "sub"},
        {"sim": "0138", "channel": "33"},
    ]
    for path in ("/live/1_1.flv2", "/live/1_x.flv", "/live/1_1_third.flv", "/live/1_1234.flv", "/live/1_١.flv"):
        assert server.ask("GET", path.replace("١", "%D9%A1"), bearer("viewer")).status == 404


def test_pipelined_requests_wait_for_the_one_before() -> None:
    first: Deferred[Thing] = Deferred()
    server, _ = routed([route(handler=lambda call: first if call.path["name"] == "1" else Thing("second"))])
    transport = server.connect()
    transport.feed(request("GET", "/things/1", bearer("viewer")) + request("GET", "/things/2", bearer("viewer")))
    assert transport.value() == b""
    first.callback(Thing("first"))
    answer, rest = parse(transport.value())
    assert answer.json["name"] == "first"
    assert parse(rest)[0].json["name"] == "second"
    server.end()


def test_the_document_describes_the_table() -> None:
    routes = [
        route(query=Filter),
        route("POST", body=Change, status=201, errors=(409,), permission=Permission.OPERATOR),
        route("DELETE", "/things/{name}/parts/{part:int}", answer=None, status=204, permission=Permission.ADMIN),
        route(path="/healthz", permission=Permission.PUBLIC, answer=None),
        route(path="/static/x.js", hidden=True),
    ]
    made = json.loads(msgspec.json.encode(document(routes, "1.2.3")))
    assert made["openapi"] == "3.1.0"
    assert made["info"]["version"] == "1.2.3"
    assert set(made["paths"]) == {"/things/{name}", "/things/{name}/parts/{part}", "/healthz"}
    get = made["paths"]["/things/{name}"]["get"]
    assert [(p["name"], p["in"], p["required"]) for p in get["parameters"]] == [
        ("name", "path", True), ("limit", "query", False), ("online", "query", False),
    ]  # fmt: skip
    assert get["responses"]["200"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Thing"}
    assert get["security"] == [{"bearer": []}, {"page": []}]
    post = made["paths"]["/things/{name}"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Change"}
    assert set(post["responses"]) == {"201", "400", "401", "403", "404", "409", "413", "414", "415", "429"}
    assert post["x-permission"] == "operator"
    assert made["paths"]["/things/{name}/parts/{part}"]["delete"]["responses"]["204"] == {"description": "No Content"}
    assert made["paths"]["/healthz"]["get"]["security"] == []
    assert set(made["components"]["schemas"]) >= {"Thing", "Change", "ProblemBody"}
    assert "Filter" not in made["components"]["schemas"]
