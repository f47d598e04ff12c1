"""``jt1078relay check-health``: whether the relay of this configuration answers ``/healthz`` on this machine; exit status 1 if not. For container engines.

It reads the file as it is now: after a change of ``http.port`` it finds the relay when that has been started anew.
"""

from __future__ import annotations

import argparse
import http.client
import ssl

from relay.app.ports import speaks_tls
from relay.cli.common import InputError, add_config_option, loaded
from relay.errors import RelayError
from relay.settings import Http

TIMEOUT_S = 3.0
#: where a listener is reached that is bound to all addresses
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class HealthError(RelayError):
    """Nobody answers, or not well."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)


def run(args: argparse.Namespace) -> int:
    name, connection = connection_to(loaded(args).settings.http)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as problem:
        raise HealthError(f"{name}: {problem}") from None
    finally:
        connection.close()
    if status != 200:
        raise HealthError(f"{name} answers {status}")
    print(f"{name}: in health")
    return 0


def connection_to(settings: Http) -> tuple[str, http.client.HTTPConnection]:
    """Where it listens, in words and as a connection that is yet to be made."""
    name = "port" if settings.port else "tls_port"
    port: int = getattr(settings, name)
    if not port:
        raise InputError("http.port and http.tls_port are 0: there is nobody to ask")
    host = LOOPBACK.get(settings.host, settings.host)
    if speaks_tls(settings, name):
        context = ssl._create_unverified_context()  # noqa: S323 - our own listener; its certificate names the public address
        return f"https://{host}:{port}", http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    return f"http://{host}:{port}", http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
