"""Parameters of the terminal."""

from __future__ import annotations

import re
from typing import Any

import pytest

from relay.jt808.params import PARAMETERS, AvChannel, AvChannels, SimpleParameter
from relay.wire import Entry, RawEntry
from tests.shared import SHARED


def decode(text: str) -> Entry:
    return PARAMETERS.decode(bytes.fromhex(text.replace(" ", "")), 2013)


def test_a_number_of_the_wrong_width_stays_raw() -> None:
    assert decode("00000001 04 0000003c").fields() == {"id": 1, "value": 60}
    assert decode("00000001 02 003c") == RawEntry(1, b"\0\x3c")
    assert decode("00000110 07 00000000000000") == RawEntry(0x110, bytes(7))


def test_text_has_any_length() -> None:
    assert decode("00000083 00").fields() == {"id": 0x83, "value": ""}
    assert decode("00000083 08 d4c14131323334 35").fields() == {"id": 0x83, "value": "粤A12345"}


def test_a_channel_table_cut_short_keeps_its_whole_entries() -> None:
    entry = decode("00000076 0a 02 00 00 01010001 0202 02")
    assert isinstance(entry, AvChannels)
    assert entry.channels == [AvChannel(physical_channel=1, logical_channel=1, channel_type=0, ptz_connected=1)]
    assert entry.trailing == b"\2\2\2"
    out = bytearray()
    PARAMETERS.write(entry, out, 2013)
    assert out.hex() == "000000760a02000001010001020202"
    assert isinstance(decode("00000076 02 0101"), RawEntry)


def test_a_wrong_count_of_channels_stays_raw() -> None:
    value = "02" + "00" * 21
    assert isinstance(decode("00000077 16" + value), RawEntry)
    assert decode("00000077 16 01" + "00" * 21).fields()["channels"][0]["logical_channel"] == 0


def test_the_forbidden_period_is_four_binary_bytes() -> None:
    assert decode("00000032 04 16320a1e").fields() == {"id": 0x32, "value": "16320a1e"}


def test_other_can_settings_and_vendor_ids_are_raw() -> None:
    assert decode("00000111 08" + "00" * 8) == RawEntry(0x111, bytes(8))
    assert decode("0000ff01 01 00") == RawEntry(0xFF01, b"\0")


def test_names_are_unique_and_speak() -> None:
    assert len(PARAMETERS.names) == len(PARAMETERS.classes)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in PARAMETERS.names)


@pytest.mark.shared
def test_every_parameter_of_the_standard_is_declared_with_its_type_and_name() -> None:
    path = SHARED / "spec" / "jt808.md"
    if not path.exists():
        pytest.skip("the shared spec is not there")
    kinds: dict[str, str] = {"DWORD": "I", "WORD": "H", "BYTE": "B", "STRING": "S", "BYTE[4]": "4s", "BYTE[8]": "8s"}
    rows = re.findall(r"^\| 0x([0-9A-F]{4}) \| ([A-Z0-9\[\]]+) \| (\S+) \|", path.read_text(encoding="utf-8"), re.M)
    assert len(rows) > 80
    for id, kind, label in rows:
        cls: Any = PARAMETERS.classes[int(id, 16)]
        assert issubclass(cls, SimpleParameter)
        assert kinds[kind] == cls.KIND, id
        assert set(label) - set(cls.LABEL) <= set("认证其他号码"), (id, cls.LABEL, label)
