"""Where the relay does not connect to at somebody's word."""

from __future__ import annotations

import pytest

from relay.core.fence import Fence


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255",
        "::1", "::", "2001:0:1::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2002:a00:1::1",
    ],
)  # fmt: skip
def test_inner_addresses_are_refused_in_every_form(address: str) -> None:
    assert "is not a public address; rtmp.push_allow" in Fence().refuses("media.example", address)


@pytest.mark.parametrize("address", ["203.0.114.9", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_not(address: str) -> None:
    assert Fence().refuses("media.example", address) == ""


def test_what_is_allowed_by_name_address_or_network() -> None:
    fence = Fence(["SRS.internal", "10.1.0.0/16", "192.168.1.9", "fd00::/8"])
    assert fence.refuses("srs.internal.", "10.9.9.9") == ""
    assert fence.refuses("other", "10.1.2.3") == ""
    assert fence.refuses("other", "::ffff:10.1.2.3") == ""
    assert fence.refuses("other", "192.168.1.9") == ""
    assert fence.refuses("other", "fd00::5") == ""
    assert fence.refuses("other", "10.2.0.1")
    assert fence.refuses("other", "192.168.1.8")
    assert fence.refuses("srs.internal.evil.example", "10.9.9.9")
