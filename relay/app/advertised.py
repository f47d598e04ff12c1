"""Addresses told to terminals and superiors that they cannot reach from outside: a frequent cause of "no media connection"."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from relay.settings import Settings


def _host(place: str) -> str:
    """Of ``host[:port]`` or ``[v6]:port``."""
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.rpartition(":")[0] if place.count(":") == 1 else place


def _private(host: str) -> str:
    """What kind of address nobody outside reaches it is; "" for a public one, and for a name, which only the other side's resolver knows."""
    if host == "localhost":
        return "a loopback address"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "a loopback address" if address.is_loopback else "a private address" if address.is_private else ""


def _is_open(host: str) -> bool:
    """Whether a listener bound to ``host`` may be reached from outside; a name counts as open."""
    try:
        address = ipaddress.ip_address(host or "0.0.0.0")
    except ValueError:
        return host != "localhost"
    return address.is_unspecified or address.is_global


def warnings(settings: Settings) -> Iterator[str]:
    """One for each address that is told and cannot be meant for others while its listener is open to them."""
    told = [
        ("media.advertise", settings.media.advertise, settings.media.host, "terminals"),
        ("ftp.advertise", settings.ftp.advertise, settings.ftp.host if settings.ftp.port else "localhost", "terminals"),
        ("attachments.advertise", settings.attachments.advertise, settings.attachments.host if settings.attachments.port else "localhost", "terminals"),
        ("http.platform_advertise", settings.http.platform_advertise, settings.http.host if settings.http.platform_port else "localhost", "superiors"),
        *((f"[[superior]] {one.name}: sublink_advertise", one.sublink_advertise, one.sublink_host, "this superior") for one in settings.superior),
    ]
    for key, place, bound, whom in told:
        kind = _private(_host(place)) if place else ""
        if kind and _is_open(bound):
            yield f"{key} = {place!r} is {kind}: {whom} can reach it only from the same network; name the public address if they are outside"
