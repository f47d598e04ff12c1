"""The hooks' POST against a real receiver."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from relay.core.hooks import ANSWER_MAX
from relay.net.webhook import WebhookError, webhook_post


class Receiver(Resource):
    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[bytes, bytes | None, bytes]] = []

    def render_POST(self, request: Any) -> Any:
        self.got.append((request.path, request.getHeader("x-jt1078-hook"), request.content.read()))
        if request.path == b"/never":
            return NOT_DONE_YET
        if request.path == b"/there":
            request.redirect(b"/here")
            return b""
        return b"x" * (ANSWER_MAX + 1) if request.path == b"/long" else b'{"code": 0}'


@pytest.fixture
def receiver() -> Any:
    resource = Receiver()
    port = pytest_twisted.blockon(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(resource)))
    resource.url = f"http://127.0.0.1:{port.getHost().port}"
    yield resource
    pytest_twisted.blockon(port.stopListening())


@pytest_twisted.ensureDeferred
async def test_the_body_and_headers_arrive_and_the_answer_comes_back(receiver: Any) -> None:
    status, body = await webhook_post(reactor)(f"{receiver.url}/hook", {"X-JT1078-Hook": "on_alarm"}, b'{"a": 1}', 5)
    assert (status, body) == (200, b'{"code": 0}')
    assert receiver.got == [(b"/hook", "on_alarm", b'{"a": 1}')]


@pytest_twisted.ensureDeferred
async def test_a_delivery_writes_nothing_to_the_log(receiver: Any) -> None:
    with capturedLogs() as logged:
        await webhook_post(reactor)(f"{receiver.url}/hook", {}, b"", 5)
    assert [event for event in logged if "Factory" in event.get("log_namespace", "")] == []


@pytest_twisted.ensureDeferred
async def test_a_redirect_is_not_followed(receiver: Any) -> None:
    status, _ = await webhook_post(reactor)(f"{receiver.url}/there", {}, b"", 5)
    assert status == 302
    assert [path for path, _, _ in receiver.got] == [b"/there"]


@pytest_twisted.ensureDeferred
async def test_what_does_not_answer_properly_is_named(receiver: Any) -> None:
    with pytest.raises(WebhookError, match=r"no answer within 0\.2 s"):
        await webhook_post(reactor)(f"{receiver.url}/never", {}, b"", 0.2)
    with pytest.raises(WebhookError, match="too long"):
        await webhook_post(reactor)(f"{receiver.url}/long", {}, b"", 5)


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_is_not_there_is_named() -> None:
    gone: Deferred[Any] = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Protocol))
    port = await gone
    url = f"http://127.0.0.1:{port.getHost().port}/"
    await port.stopListening()
    with pytest.raises(WebhookError, match="refused"):
        await webhook_post(reactor)(url, {}, b"", 5)
