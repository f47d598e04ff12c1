"""Binding: all or nothing, and the failure names key, address and cause."""

from __future__ import annotations

import socket

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from relay.app.listening import FreePorts, Listeners, Wanted
from relay.errors import ConfigError
from tests.ports import free_port


def test_a_taken_port_is_named_and_the_others_are_given_back() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        free = free_port()
        listeners = Listeners()
        with pytest.raises(ConfigError) as caught:
            listeners.bind([Wanted("http.port", "tcp", "127.0.0.1", free), Wanted("media.live_tcp_port", "tcp", "127.0.0.1", taken)])
        assert str(caught.value) == f"media.live_tcp_port: cannot listen on TCP 127.0.0.1:{taken}: another program listens there"
    with socket.socket() as again:
        again.bind(("127.0.0.1", free))


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_an_address_of_another_machine(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"http\.port: cannot listen on {kind.upper()} 192\.0\.2\.1:8080: this machine does not have that address"):
        Listeners().bind([Wanted("http.port", kind, "192.0.2.1", 8080)])


def test_udp_and_tcp_share_a_number() -> None:
    listeners = Listeners()
    port = free_port()
    listeners.bind([Wanted("a", "tcp", "127.0.0.1", port), Wanted("b", "udp", "127.0.0.1", port)])
    assert (listeners.port("a"), listeners.port("b"), listeners.port("c")) == (port, port, 0)
    listeners.close_unadopted()


def test_a_busy_port_is_replaced_by_a_free_one() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with FreePorts() as free:
            assert free.port("127.0.0.1", "tcp", taken) not in (0, taken)


def test_no_port_is_found_twice_and_all_are_given_back() -> None:
    with FreePorts() as free:
        found = [free.port("127.0.0.1", "tcp") for _ in range(20)]
        assert len(set(found)) == 20
    with socket.socket() as again:
        again.bind(("127.0.0.1", found[0]))


async def test_an_adopted_socket_answers_until_stopped() -> None:
    listeners = Listeners()
    listeners.bind([Wanted("http.port", "tcp", "127.0.0.1", 0)])
    bound = listeners.get("http.port")
    assert bound is not None
    factory = Factory.forProtocol(Protocol)
    factory.noisy = False
    bound.adopt_stream(reactor, factory)
    port = bound.port
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        pass
    assert listeners.described() == f"http.port tcp 127.0.0.1:{port}"
    await listeners.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
