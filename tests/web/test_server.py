"""The bounds that twisted.web lacks (dependencies: slow headers, bodies without limit, HTTP/2 by itself …), one test each."""

from __future__ import annotations

import resource
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.testing import StringTransport
from twisted.web import http

from relay.web.request import Proxies, Request, redact
from relay.web.server import HEADER_LINES, LINE_BYTES, LINGER_S, what_speaks
from tests.web.support import Server, dial, listen, parse, parse_all, request


def echo(req: Request) -> None:
    """Answers with what it got."""
    assert req.content is not None
    req.answer(200, req.method + b" " + req.uri + b" " + req.content.getvalue(), "text/plain")


def test_a_request_is_answered_and_the_connection_kept() -> None:
    server = Server(echo)
    transport = server.connect()
    for _ in range(3):
        transport.feed(request("POST", "/a?b=c", body=b"{}"))
        answer, rest = parse(transport.value())
        assert (answer.status, answer.body, rest) == (200, b"POST /a?b=c {}", b"")
        assert "date" in answer.headers
        transport.clear()
    server.end()


def test_a_request_is_understood_wherever_it_is_cut() -> None:
    data = request("POST", "/x", body=b'{"a": 1}')
    for at in range(1, len(data)):
        server = Server(echo)
        transport = server.connect()
        transport.feed(data[:at])
        assert transport.value() == b""
        transport.feed(data[at:])
        assert parse(transport.value())[0].body == b'POST /x {"a": 1}'
        server.end()


def test_headers_have_an_absolute_deadline_however_often_bytes_come() -> None:
    server = Server(echo, header_timeout_s=10.0)
    transport = server.connect()
    transport.feed(b"GET / HTTP/1.1\r\nHost: a\r\n")
    for second in range(9):
        server.clock.advance(1)
        transport.feed(b"X-%d: 1\r\n" % second)
        assert transport.value() == b""
    server.clock.advance(1)
    answer, _ = parse(transport.value())
    assert answer.status == 408
    assert answer.headers["connection"] == "close"
    server.end()


def test_one_byte_a_second_in_the_first_line_meets_the_same_deadline() -> None:
    server = Server(echo, header_timeout_s=10.0)
    transport = server.connect()
    for byte in b"GET / HTTP":
        transport.feed(bytes((byte,)))
        server.clock.advance(1)
    assert parse(transport.value())[0].status == 408
    server.end()


def test_a_connection_that_says_nothing_is_closed() -> None:
    server = Server(echo, header_timeout_s=10.0)
    transport = server.connect()
    server.clock.advance(10)
    assert transport.disconnecting
    assert transport.value() == b""
    server.end()


def test_a_kept_connection_is_closed_after_the_keepalive_time() -> None:
    server = Server(echo, keepalive_s=60.0, header_timeout_s=10.0)
    transport = server.connect()
    transport.feed(request("GET", "/"))
    server.clock.advance(59)
    assert not transport.disconnecting
    server.clock.advance(1)
    assert transport.disconnecting
    server.end()


def test_the_next_request_on_a_kept_connection_has_the_header_deadline() -> None:
    server = Server(echo, keepalive_s=60.0, header_timeout_s=10.0)
    transport = server.connect()
    transport.feed(request("GET", "/"))
    transport.clear()
    server.clock.advance(30)
    transport.feed(b"GET")
    server.clock.advance(10)
    assert parse(transport.value())[0].status == 408
    server.end()


def test_half_a_request_pipelined_behind_another_has_the_header_deadline() -> None:
    server = Server(echo, keepalive_s=60.0, header_timeout_s=10.0)
    transport = server.connect()
    transport.feed(request("GET", "/") + b"GET /half")
    transport.clear()
    server.clock.advance(10)
    assert parse(transport.value())[0].status == 408
    server.end()


def test_a_body_has_an_absolute_deadline() -> None:
    server = Server(echo, body_timeout_s=20.0)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Content-Length": "100"}))
    for _ in range(19):
        server.clock.advance(1)
        transport.feed(b"x")
    assert transport.value() == b""
    server.clock.advance(1)
    assert parse(transport.value())[0].status == 408
    server.end()


def test_a_handler_that_takes_long_is_not_cut_off() -> None:
    held: list[Request] = []
    server = Server(held.append)
    transport = server.connect()
    transport.feed(request("GET", "/"))
    server.clock.advance(3600)
    held[0].answer(200, b"late", "text/plain")
    assert parse(transport.value())[0].body == b"late"
    server.end()


def test_a_body_announced_too_large_is_refused_before_it_comes() -> None:
    server = Server(echo, body_max_bytes=1048576)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Content-Length": str(300 << 20)}))
    answer, _ = parse(transport.value())
    assert answer.status == 413
    assert answer.json["error"] == "body_too_large"
    server.end()


def test_a_refused_client_gets_no_100_continue() -> None:
    server = Server(echo, body_max_bytes=1024)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Content-Length": "4096", "Expect": "100-continue"}))
    assert parse(transport.value())[0].status == 413
    server.end()


def test_an_endless_chunked_body_is_refused_at_the_limit() -> None:
    server = Server(echo, body_max_bytes=65536)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Transfer-Encoding": "chunked"}))
    sent = 0
    while not transport.value():
        transport.feed(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        sent += 4096
        assert sent <= 65536 + 4096
    assert parse(transport.value())[0].status == 413
    server.end()


def test_chunks_of_one_byte_are_counted_too() -> None:
    server = Server(echo, body_max_bytes=1000)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Transfer-Encoding": "chunked"}))
    transport.feed(b"1\r\nx\r\n" * 1001)
    assert parse(transport.value())[0].status == 413
    server.end()


def test_a_whole_chunked_body_under_the_limit_is_taken() -> None:
    server = Server(echo)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Transfer-Encoding": "chunked"}) + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n")
    assert parse(transport.value())[0].body == b"POST / abcde"
    server.end()


def test_what_a_refused_client_still_sends_is_thrown_away_and_then_cut() -> None:
    server = Server(echo, body_max_bytes=1024)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Content-Length": "5000000"}))
    transport.feed(b"x" * 65536)
    assert not transport.aborted
    server.clock.advance(LINGER_S)
    assert transport.aborted
    server.end()


def test_a_refused_client_that_goes_on_sending_is_cut_by_volume() -> None:
    server = Server(echo, body_max_bytes=1024)
    transport = server.connect()
    transport.feed(request("POST", "/", {"Content-Length": str(300 << 20)}))
    for _ in range(65):
        transport.feed(b"x" * 65536)
    assert transport.aborted
    server.end()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * LINE_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * LINE_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"a" * 4000 + b"\r\n" + (b"Y: " + b"b" * 4000 + b"\r\n") * 5 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * (HEADER_LINES + 1) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 100000, 431),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
@pytest.mark.parametrize("step", [0, 1, 1000])
def test_malformed_and_oversized_requests_are_answered_and_closed(data: bytes, status: int, step: int) -> None:
    handled: list[Request] = []
    server = Server(handled.append)
    transport = server.connect()
    step = step if len(data) < 20000 else max(step, 100)
    for at in range(0, len(data), step or len(data)):
        transport.feed(data[at : at + (step or len(data))])
    answers = parse_all(transport.value())
    assert [answer.status for answer in answers] == [status]
    assert answers[0].json["error"]
    assert transport.disconnecting
    assert handled == []
    server.clock.advance(LINGER_S)
    assert transport.aborted
    server.end()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x7e\x00\x02\x00\x00", "JT/T 808"),
        (b"01cd\x81", "JT/T 1078 media"),
        (b"\x5b\x00\x00\x00", "JT/T 809"),
        (b"\x16\x03\x01\x02\x00", "TLS"),
        (b"\x03" + bytes(8), "RTMP"),
        (b"\x00\x01", "nothing known"),
    ],
)
def test_what_is_not_http_is_refused_at_its_first_byte_and_named(data: bytes, name: str) -> None:
    server = Server(echo)
    transport = server.connect()
    transport.feed(data)
    assert parse(transport.value())[0].status == 400
    assert what_speaks(data[:16]) == name
    server.end()


def test_lines_about_junk_come_at_most_once_a_second() -> None:
    from twisted.logger import globalLogPublisher

    lines: list[Any] = []
    globalLogPublisher.addObserver(lines.append)
    try:
        server = Server(echo)
        for _ in range(50):
            server.connect().feed(b"\x7e\x01")
        assert len([line for line in lines if "not HTTP" in (line.get("log_format") or "")]) == 1
        server.clock.advance(1)
        server.connect().feed(b"\x7e\x01")
        told = [line for line in lines if "not HTTP" in (line.get("log_format") or "")]
        assert [line["count"] for line in told] == [1, 50]
        assert told[0]["guess"] == "JT/T 808"
    finally:
        globalLogPublisher.removeObserver(lines.append)
    server.end()


def test_pipelined_requests_are_answered_in_order() -> None:
    held: list[Request] = []
    server = Server(held.append)
    transport = server.connect()
    transport.feed(request("GET", "/1") + request("GET", "/2") + request("GET", "/3"))
    assert len(held) == 1
    for at in range(3):
        held[at].answer(200, held[at].uri, "text/plain")
    assert [answer.body for answer in parse_all(transport.value())] == [b"/1", b"/2", b"/3"]
    server.end()


def test_a_client_that_pipelines_without_reading_is_read_no_further() -> None:
    answered = []

    def big(req: Request) -> None:
        answered.append(req.uri)
        req.answer(200, b"x" * 100000, "text/plain")

    server = Server(big)
    transport = server.connect()
    channel = transport.protocol
    original = transport.write
    level = 0

    def write(data: bytes) -> None:
        """What a transport does: ask for a pause when more than 64 KiB wait."""
        nonlocal level
        level += len(data)
        original(data)
        if level > 65536:
            channel.pauseProducing()

    transport.write = write  # type: ignore[method-assign]
    transport.feed(request("GET", "/") * 1000)
    assert len(answered) == 1
    assert transport.producerState == "paused"
    server.clock.advance(30)  # what it sent in advance has no deadline while it is us who wait
    for count in range(2, 6):
        level = 0
        channel.resumeProducing()
        assert len(answered) == count
    server.end()


async def test_pipelining_over_a_real_socket_costs_no_memory() -> None:
    server = Server(lambda req: req.answer(200, b"x" * 100000, "text/plain"))
    server.site.clock = reactor
    port = await listen(server.site, reactor)
    raw = await dial(port, reactor)
    raw.transport.pauseProducing()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        raw.transport.write(request("GET", "/") * 2000)
        await pause(0.01)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30000  # KiB; the answers would be 4 GB
    raw.transport.abortConnection()
    await raw.until(lambda: raw.lost)
    await port.stopListening()
    await pause(0)


async def pause(seconds: float) -> None:
    """Let the reactor turn."""
    from twisted.internet.task import deferLater

    await deferLater(reactor, seconds)


async def test_300_mib_are_refused_over_a_real_socket_and_the_reason_arrives() -> None:
    server = Server(echo)
    server.site.clock = reactor
    port = await listen(server.site, reactor)
    raw = await dial(port, reactor)
    raw.transport.write(request("POST", "/", {"Content-Length": str(300 << 20)}))
    raw.transport.write(b"x" * (1 << 20))
    await raw.until(lambda: b"\r\n\r\n" in raw.data)
    assert parse(raw.data)[0].status == 413
    raw.transport.loseConnection()
    await raw.until(lambda: raw.lost)
    await port.stopListening()
    await pause(0.05)
    assert server.site.open == 0


def test_connections_are_limited_in_all_and_by_address() -> None:
    server = Server(echo, connections_max=3, connections_per_address=2)
    here, there = IPv4Address("TCP", "10.0.0.1", 1), IPv4Address("TCP", "10.0.0.2", 1)
    first = server.site.buildProtocol(here)
    assert first is not None
    assert server.site.buildProtocol(here) is not None
    assert server.site.buildProtocol(here) is None
    assert server.site.buildProtocol(there) is not None
    assert server.site.buildProtocol(there) is None
    assert server.site.turned_away == 2
    first.makeConnection(StringTransport())
    first.connectionLost()
    assert server.site.buildProtocol(here) is not None


def test_http_2_is_never_offered() -> None:
    server = Server(echo)
    assert IProtocolNegotiationFactory(server.site).acceptableProtocols() == [b"http/1.1"]


def test_a_client_that_goes_away_is_noticed_while_its_request_waits() -> None:
    held: list[Request] = []
    lost: list[Any] = []
    server = Server(held.append)
    transport = server.send("GET", "/")
    held[0].notifyFinish().addErrback(lost.append)
    transport.lost()
    assert len(lost) == 1
    held[0].answer(200, b"too late")  # nothing happens
    server.end()


def test_http_1_0_is_answered_and_closed() -> None:
    server = Server(echo)
    transport = server.connect()
    transport.feed(b"GET / HTTP/1.0\r\n\r\n")
    answer, _ = parse(transport.value())
    assert answer.status == 200
    assert transport.disconnecting
    server.end()


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "1.2.3.4", "10.1.1.1"),  # nobody we trust
        ("192.0.2.1", "1.2.3.4", "1.2.3.4"),
        ("192.0.2.1", "9.9.9.9, 1.2.3.4", "1.2.3.4"),  # what the client made up stands in front
        ("192.0.2.1", "1.2.3.4, 198.51.100.7", "1.2.3.4"),
        ("::ffff:192.0.2.1", "1.2.3.4", "1.2.3.4"),
        ("192.0.2.1", "198.51.100.1", "198.51.100.1"),
        ("not an address", "1.2.3.4", "not an address"),
    ],
)
def test_forwarded_addresses_are_believed_from_listed_proxies_only(peer: str, forwarded: str, client: str) -> None:
    assert Proxies(["192.0.2.1", "198.51.100.0/24"]).client(peer, forwarded) == client


def test_scheme_and_host_come_from_a_trusted_proxy_only() -> None:
    seen: list[tuple[bool, str]] = []

    def look(req: Request) -> None:
        seen.append((req.secure, req.host_header))
        req.answer(204)

    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "video.example"}
    Server(look).ask("GET", "/", headers)
    Server(look, trusted_proxies=("192.168.1.1",)).ask("GET", "/", headers)  # StringTransport's peer
    assert seen == [(False, "relay.example:8080"), (True, "video.example")]


@pytest.mark.parametrize("host", ["a b", "evil\"; script-src *", "<x>", "a,b", "a:999999"])
def test_a_host_that_is_none_is_not_repeated(host: str) -> None:
    seen: list[str] = []

    def look(req: Request) -> None:
        seen.append(req.host_header)
        req.answer(204)

    Server(look).ask("GET", "/", {"Host": host})
    assert seen == [""]


@pytest.mark.parametrize(
    "uri",
    ["/live/1_1.flv?token=SECRET", "/x?a=1&token=SECRET&b=2", "/x?tok%65n=SECRET", "/x?TOKEN=SECRET", "/?token=SECRET#x", "/x?key=SECRET"],
)
def test_no_log_line_shows_a_token(uri: str) -> None:
    from twisted.logger import formatEvent, globalLogPublisher

    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    try:
        Server(echo).ask("GET", uri)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert any("GET /" in line for line in lines)
    assert not any("SECRET" in line for line in lines)
    assert "SECRET" not in redact(uri)


def test_a_requests_repr_shows_no_token() -> None:
    seen: list[str] = []

    def look(req: Request) -> None:
        seen.append(repr(req))
        req.answer(204)

    Server(look).ask("GET", "/x?token=SECRET")
    assert seen == ["<Request GET /x?token=->"]


def test_twisted_still_has_the_private_hook_for_malformed_requests() -> None:
    """A Twisted that moves it would answer 400 without a body and close without lingering."""
    assert callable(http.HTTPChannel._respondToBadRequestAndDisconnect)
    assert callable(http.HTTPChannel.allHeadersReceived)
    assert isinstance(http.HTTPChannel._optimisticEagerReadSize, int)
