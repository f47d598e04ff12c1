"""Where the relay connects to at somebody's word (pushes made by the API): public addresses, and what the configuration allows besides.

Without it an API token would open the network behind the relay: other machines' services, and those that listen on loopback alone. The name is
resolved once, and what is connected to is the address that was looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

_NAT64 = IPv6Network("64:ff9b::/96")


class Fence:
    """``allowed``: host names, addresses and networks."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._networks: list[IPv4Network | IPv6Network] = []
        for word in allowed:
            try:
                self._networks.append(ip_network(word, strict=False))
            except ValueError:
                self._names.add(_name(word))

    def refuses(self, host: str, address: str) -> str:
        """Why ``address``, which ``host`` resolved to, is not connected to; ``""`` when it may be."""
        if _name(host) in self._names:
            return ""
        where = _meant(ip_address(address.partition("%")[0]))
        if any(where in network for network in self._networks if network.version == where.version):
            return ""
        if where.is_global and not where.is_multicast:
            return ""
        return f"{where} is not a public address; rtmp.push_allow names what may be pushed to besides"


def _name(text: str) -> str:
    return text.rstrip(".").lower()


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that one of IPv6's forms stands for."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
