"""The hooks' way out: one POST by HTTP or HTTPS, no redirects, bounded in time and in what is read of the answer."""

# mypy: disallow-untyped-calls=False
# (twisted.web.client carries no annotations)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from relay.core.hooks import ANSWER_MAX
from relay.errors import RelayError


class WebhookError(RelayError):
    """No answer came."""


@implementer(IBodyProducer)
class _Body:
    """Bytes that are there already."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:
        consumer.write(self.data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """All is written already."""

    def resumeProducing(self) -> None:
        """All is written already."""

    def stopProducing(self) -> None:
        """All is written already."""


class _Answer(Protocol):
    """Reads an answer's body, up to a limit."""

    def __init__(self, done: Deferred[bytes]) -> None:
        self._done = done
        self._data = b""

    def dataReceived(self, data: bytes) -> None:
        if self._done.called:
            return
        self._data += data
        if len(self._data) > ANSWER_MAX:
            self._data = b""
            self._done.errback(WebhookError("its answer is too long"))
            if self.transport is not None:
                self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self._done.callback(self._data)
        else:
            self._done.errback(WebhookError("its answer broke off"))


class _Quiet(HTTPConnectionPool._factory):  # type: ignore[misc, valid-type]
    """Without two lines in the log for each delivery, "Starting factory" and "Stopping factory"."""

    noisy = False


def webhook_post(reactor: Any) -> Callable[[str, dict[str, str], bytes, float], Deferred[tuple[int, bytes]]]:
    """What ``core.hooks`` sends by."""
    pool = HTTPConnectionPool(reactor, persistent=False)  # a receiver that restarts must not cost the first event after it
    pool._factory = _Quiet
    agent = Agent(reactor, pool=pool)

    def post(url: str, headers: dict[str, str], body: bytes, seconds: float) -> Deferred[tuple[int, bytes]]:
        fields = Headers({name: [value] for name, value in headers.items()})
        waiting: Deferred[Any] = Deferred.fromCoroutine(_exchange(agent, url.encode(), fields, body))
        waiting.addTimeout(seconds, reactor, lambda _result, _seconds: Failure(WebhookError(f"no answer within {seconds:g} s")))
        return waiting.addErrback(_in_words)

    return post


async def _exchange(agent: Agent, url: bytes, headers: Headers, body: bytes) -> tuple[int, bytes]:
    response = await agent.request(b"POST", url, headers, _Body(body))
    done: Deferred[bytes] = Deferred()
    response.deliverBody(_Answer(done))
    return response.code, await done


def _in_words(failure: Failure) -> Failure:
    if failure.check(WebhookError, CancelledError):
        return failure
    reasons = getattr(failure.value, "reasons", None)  # what twisted.web wraps
    text = "; ".join(reason.getErrorMessage() for reason in reasons) if reasons else failure.getErrorMessage()
    return Failure(WebhookError(text or str(failure.type)))
