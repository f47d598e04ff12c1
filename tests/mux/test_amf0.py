"""AMF0: the vectors' values, everything back and forth, and limits for what a peer may send."""

from __future__ import annotations

import random
import struct
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import DecodeError, UsageError
from relay.mux import amf0
from tests.shared import load_vectors

VECTORS = load_vectors("jt1078")


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "amf0_property"])
def test_property(vector: dict[str, Any]) -> None:
    data, fields = bytes.fromhex(vector["hex"]), vector["fields"]
    reader = amf0.Reader(data)
    name, value = reader.property()
    assert name == fields["name"]
    assert isinstance(value, float)
    assert value == pytest.approx(fields["number"], abs=1e-5)
    assert reader.left == 0
    assert amf0.encode_property(name, value) == data


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == "flv_script_tag"])
def test_script_tag_without_its_end_marker(vector: dict[str, Any]) -> None:
    data, fields = bytes.fromhex(vector["hex"]), vector["fields"]
    assert data[0] == fields["tag_type"]
    size = int.from_bytes(data[1:4], "big")
    reader = amf0.Reader(data[11 : 11 + size])
    assert reader.value() == fields["name"]
    assert struct.unpack_from(">BI", data, 11 + reader.offset) == (8, fields["array_count"])
    values = reader.value()
    assert isinstance(values, amf0.EcmaArray)
    assert set(values) == set(fields["values"])
    for name, number in fields["values"].items():
        assert values[name] == pytest.approx(number, abs=1e-5)


SIMPLE = st.one_of(
    st.none(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=20), st.builds(amf0.Date, st.floats(0, 2e12), st.integers(-720, 720))
)
NAMES = st.text(min_size=1, max_size=8)
VALUES = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4).map(amf0.EcmaArray)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_values_come_back(value: object) -> None:
    data = amf0.encode(value)
    reader = amf0.Reader(data)
    assert reader.value() == value
    assert reader.left == 0


@given(VALUES, st.data())
def test_truncations_are_read_or_a_decode_error(value: object, data: st.DataObject) -> None:
    whole = amf0.encode(value)
    cut = data.draw(st.integers(0, len(whole)))
    try:
        amf0.Reader(whole[:cut]).value()
    except DecodeError as error:
        assert 0 <= error.offset <= cut  # noqa: PT017 - either way is right


@given(st.binary(max_size=120))
def test_noise_is_read_or_a_decode_error(noise: bytes) -> None:
    reader = amf0.Reader(noise)
    try:
        while reader.left:
            reader.value()
    except DecodeError:
        pass


def test_mutations_are_read_or_a_decode_error() -> None:
    chance = random.Random(0xA3F0)
    base = amf0.encode({"app": "live", "list": [1.0, "x", {"a": None}], "map": amf0.EcmaArray(b=True), "at": amf0.Date(1e12)})
    for _ in range(20000):
        data = bytearray(base)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            amf0.Reader(bytes(data)).value()
        except DecodeError:
            pass


def test_limits() -> None:
    for nest in (b"\x03\x00\x01a", b"\x08\x00\x00\x00\x01\x00\x01a", b"\x0a\x00\x00\x00\x01"):
        with pytest.raises(DecodeError, match="nested deeper"):
            amf0.Reader(nest * 40 + b"\x05").value()
        with pytest.raises(DecodeError):
            amf0.Reader(nest * 100000).value()
    with pytest.raises(DecodeError, match="an array of 4294967295 values"):
        amf0.Reader(b"\x0a\xff\xff\xff\xff").value()
    with pytest.raises(DecodeError, match="a string of"):
        amf0.Reader(b"\x0c\x7f\xff\xff\xff").value()
    with pytest.raises(DecodeError, match="more than 1024 properties"):
        amf0.Reader(b"\x03" + b"\x00\x01a\x05" * 1100).value()
    with pytest.raises(DecodeError, match="type 0x11"):
        amf0.Reader(b"\x11").value()
    with pytest.raises(UsageError):
        amf0.encode(object())
    with pytest.raises(UsageError):
        amf0.encode({"x" * 70000: 1})
    deep: list[object] = []
    for _ in range(30):
        deep = [deep]
    with pytest.raises(UsageError):
        amf0.encode(deep)
    assert amf0.Reader(amf0.encode("ü" * 40000)[:3]).left == 3


def test_reading_takes_linear_time() -> None:
    def cost(count: int) -> float:
        data = b"\x0a" + count.to_bytes(4, "big") + b"\x02\x00\x00" * count
        best = 1e9
        for _ in range(5):
            start = time.process_time()
            for _ in range(20):
                amf0.Reader(data).value()
            best = min(best, time.process_time() - start)
        return best

    assert cost(1024) <= 24 * cost(128) + 0.002  # 8 times as much; where each element cost more, it would be 64
