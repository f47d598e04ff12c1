"""Warnings of addresses that nobody outside can reach."""

from __future__ import annotations

from dataclasses import replace

import pytest

from relay.app.advertised import warnings
from relay.settings import Settings, Superior


def told(host: str, advertise: str) -> list[str]:
    settings = Settings()
    return list(warnings(replace(settings, media=replace(settings.media, host=host, advertise=advertise))))


@pytest.mark.parametrize("address", ["10.0.0.5", "192.168.1.2", "127.0.0.1", "localhost", "::1", "fd00::1"])
def test_a_private_address_told_by_an_open_listener_is_named_with_its_key(address: str) -> None:
    (warning,) = told("0.0.0.0", address)
    assert warning.startswith(f"media.advertise = '{address}' is a ")
    assert "terminals can reach it only from the same network" in warning


@pytest.mark.parametrize(
    ("host", "advertise"), [("0.0.0.0", ""), ("0.0.0.0", "8.8.8.8"), ("0.0.0.0", "video.example"), ("127.0.0.1", "127.0.0.1"), ("10.0.0.5", "10.0.0.5")]
)
def test_nothing_is_said_of_public_addresses_names_and_listeners_that_are_private_themselves(host: str, advertise: str) -> None:
    assert told(host, advertise) == []


def test_ports_are_no_part_of_the_address_and_superiors_are_named() -> None:
    settings = Settings()
    superior = Superior(name="province", host="gov.example", port=1, sublink_host="0.0.0.0", sublink_advertise="172.16.0.1")
    found = list(warnings(replace(settings, http=replace(settings.http, host="0.0.0.0", platform_advertise="10.1.2.3:8078"), superior=(superior,))))
    assert [line.partition(" = ")[0] for line in found] == ["http.platform_advertise", "[[superior]] province: sublink_advertise"]
